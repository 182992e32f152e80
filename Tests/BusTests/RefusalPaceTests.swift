// A client that sends invalid calls is named in the log, and can't fill the log.

import Testing

@testable import Bus

@Suite struct RefusalPaceTests {
  func caller(_ number: Int) -> Caller { ":1.\(number)".withCString { Caller(uniqueName: $0) } }

  @Test func aCallerIsNamedOnceInAWindow() {
    var pace = RefusalPace()
    #expect(pace.note(caller(1), at: 5) == 0)
    for _ in 0..<1000 { #expect(pace.note(caller(1), at: 6) == nil) }
    #expect(pace.note(caller(2), at: 7) == 1000)
  }

  @Test func allOfThemGetAFewLines() {
    var pace = RefusalPace()
    let said = (0..<1000).count { pace.note(caller($0), at: 5) != nil }
    #expect(said == RefusalPace.lines)
  }

  @Test func afterTheWindowTheyAreNamedAgain() {
    var pace = RefusalPace()
    _ = pace.note(caller(1), at: 5)
    #expect(pace.note(caller(1), at: 5 + RefusalPace.window - 1) == nil)
    #expect(pace.note(caller(1), at: 5 + RefusalPace.window) == 1)
  }
}
