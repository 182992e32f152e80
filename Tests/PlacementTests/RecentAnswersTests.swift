import Testing

@testable import Placement

struct RecentAnswersTests {
  private let device = DeviceNumber(major: 226, minor: 129)

  private func query(_ inode: UInt64, _ change: (inout Hints) -> Void = { _ in }) -> Query {
    var planes = Planes()
    planes.append(BufferIdentity(inode: inode))
    var hints = Hints()
    change(&hints)
    return Query(planes: planes, hints: hints)
  }
  private func answer(_ inode: UInt64, _ access: Access = .native) -> Answer {
    Answer(
      device: device, access: access, confidence: .intent, buffer: BufferIdentity(inode: inode),
      generation: 1)
  }

  @Test func theLastOnesAreKeptInOrder() {
    var recent = RecentAnswers()
    #expect(recent.all.isEmpty)
    for inode in 1...UInt64(RecentAnswers.limit + 3) {
      recent.note(query(inode), answer(inode), at: inode)
    }
    #expect(recent.all.map(\.at) == Array(4...UInt64(RecentAnswers.limit + 3)))
  }

  @Test func whatIsAskedEveryFrameIsNotedOnce() {
    var recent = RecentAnswers()
    for at in 1...100 as ClosedRange<UInt64> {
      for inode in 1...3 as ClosedRange<UInt64> { recent.note(query(inode), answer(inode), at: at) }
    }
    #expect(recent.all.count == 3)
    recent.note(query(1), answer(1, .moves), at: 101)
    recent.note(query(1) { $0.usage = [.scanout] }, answer(1, .moves), at: 102)
    recent.note(query(1) { $0.candidates = DeviceList([]) }, answer(1, .moves), at: 103)
    #expect(recent.all.map(\.at).suffix(3) == [101, 102, 103])
  }

  @Test func aLineOfTheLogIsReadAsItWasWritten() {
    let query = query(4097) { hints in
      (hints.format, hints.modifier, hints.usage) = (875_713_112, 0x0200_0000_0000_0001, .scanout)
      (hints.samplingDevice, hints.targetDevice) = (device, DeviceNumber(major: 226, minor: 1))
      hints.candidates = DeviceList([device])
    }
    let told = ToldAnswer(
      RecentAnswer(query, answer(4097), at: 0), age: 1234, exporter: device, home: .dedicated,
      residency: .system)
    #expect(ToldAnswer(line: told.line) == told)
    let plain = ToldAnswer(
      RecentAnswer(self.query(1), answer(1), at: 0), age: 0, exporter: .none, home: .unknown,
      residency: .unknown)
    #expect(ToldAnswer(line: plain.line) == plain)
  }

  @Test func otherLinesAreNone() {
    for line in [
      "", "answered", "told :1.4 of buffer 4", "answered ago=x planes=1 device=1:1",
      "answered ago=1 planes= device=1:1 access=native confidence=intent",
      "answered ago=1 planes=1 device=1 access=native confidence=intent",
      "answered ago=1 planes=1 device=1:1 access=lovely confidence=intent",
    ] {
      #expect(ToldAnswer(line: line) == nil, "\(line)")
    }
  }
}
