// The contract's table of hints, and that the decoder uses it.

import Linux
import Placement
import Testing

@testable import Bus

@Suite struct HintTableTests {
  @Test func rowsStandInTheOrderOfTheirKeys() {
    for hint in Hint.allCases {
      #expect(Hint(named: "\(hint.name)") == hint)
      #expect(hint.key.rawValue == 1 << hint.rawValue)
    }
    #expect(Set(Hint.names).count == Hint.allCases.count)
    #expect(Hint.Methods.both.contains(.place))
  }

  static let others: [StaticString] = [
    "", "c", "candidate", "candidatess", "Candidates", "verdicts ",
  ]

  @Test func anythingElseIsNoHint() {
    for word in Self.others { #expect(Hint(named: "\(word)") == nil) }
  }

  @Test func eachHasASentence() {
    for hint in Hint.allCases { #expect("\(hint.meaning)".hasSuffix(".")) }
  }
}

@Suite struct QueryDecoderTests {
  let bus = try! LocalBus()

  func hints(
    for method: Hint.Methods = .place, _ write: (Message) throws(Errno) -> Void
  ) throws -> Result<Hints, BusError> {
    let call = try bus.call { m throws(Errno) in
      try m.open("a", "{sv}")
      try write(m)
      try m.close()
    }
    var hints = Hints()
    let failure = try call.message.readHints(into: &hints, for: method)
    return failure.map { .failure($0) } ?? .success(hints)
  }

  func write(_ list: [DeviceNumber], as key: StaticString, _ m: Message) throws(Errno) {
    try m.entry(key, "at") { () throws(Errno) in
      try m.open("a", "t")
      for number in list { try m.append(number) }
      try m.close()
    }
  }

  @Test func anythingElseIsPassedOver() throws {
    let read = try hints { m throws(Errno) in
      for word in HintTableTests.others {
        try m.entry(word, "t") { () throws(Errno) in try m.append(UInt64(5)) }
      }
    }
    #expect(try read.get() == Hints())
  }

  @Test func everyHintIsRead() throws {
    let devices = [DeviceNumber(5), DeviceNumber(6)]
    let read = try hints { m throws(Errno) in
      for hint in [Hint.samplingDevice, .targetDevice, .primaryDevice, .modifier] {
        try m.entry(hint.name, "t") { () throws(Errno) in try m.append(UInt64(hint.rawValue) + 1) }
      }
      for hint in [Hint.format, .client] {
        try m.entry(hint.name, "u") { () throws(Errno) in try m.append(UInt32(hint.rawValue)) }
      }
      for hint in [Hint.verdicts, .wake, .fresh, .explain] {
        try m.entry(hint.name, "b") { () throws(Errno) in try m.append(true) }
      }
      try m.entry("usage", "as") { () throws(Errno) in
        try m.append(["scanout", "tomorrow", "capture"])
      }
      try write(devices, as: "candidates", m)
    }.get()
    var wanted = Hints()
    wanted.set(.samplingDevice, number: 1)
    wanted.set(.targetDevice, number: 2)
    wanted.set(.primaryDevice, number: 3)
    wanted.set(.modifier, number: UInt64(Hint.modifier.rawValue) + 1)
    wanted.set(.format, number: UInt64(Hint.format.rawValue))
    wanted.set(clientPID: UInt32(Hint.client.rawValue))
    for hint in [Hint.verdicts, .wake, .fresh, .explain] { wanted.set(hint, flag: true) }
    wanted.set(usage: [.scanout, .capture])
    wanted.set(candidates: DeviceList(devices))
    #expect(read == wanted)
    #expect(read.given.rawValue == (1 << Hint.allCases.count) - 1, "a hint is not tested here")
  }

  @Test func anEmptyListIsAList() throws {
    let read = try hints { m throws(Errno) in try write([], as: "candidates", m) }.get()
    #expect(read.candidates == DeviceList())
    #expect(read.layoutChecked)
  }

  @Test func asManyCandidatesAsMayBe() throws {
    let list = (1...64).map { DeviceNumber($0) }
    let read = try hints { m throws(Errno) in try write(list, as: "candidates", m) }.get()
    #expect(read.candidates == DeviceList(list))
  }

  @Test func oneMoreIsRefusedAndTheRestIsRead() throws {
    let list = (1...65).map { DeviceNumber($0) }
    let read = try hints { m throws(Errno) in
      try write(list, as: "candidates", m)
      try m.entry("fresh", "b") { () throws(Errno) in try m.append(true) }
    }
    guard case .failure(.invalidArgument(let what)) = read else {
      Issue.record("65 candidates were taken")
      return
    }
    #expect(what.contains("more than 64") && what.contains("name only"))
  }

  @Test func aWrongTypeNamesTheRightOne() throws {
    for hint in Hint.allCases {
      let read = try hints { m throws(Errno) in
        try m.entry(hint.name, "s") { () throws(Errno) in try m.append("word") }
      }
      let wanted = "hint \(hint.name) must have the type \(hint.typeWord), not s"
      #expect(throws: BusError.invalidArgument(wanted)) { try read.get() }
    }
  }

  @Test func whatIsNotKnownIsPassedOver() throws {
    let read = try hints { m throws(Errno) in
      try write([DeviceNumber(1)], as: "candidate-of-tomorrow", m)
      try m.entry("fresh", "b") { () throws(Errno) in try m.append(true) }
    }.get()
    var wanted = Hints()
    wanted.set(.fresh, flag: true)
    #expect(read == wanted)
  }

  @Test func adviseTakesItsOwn() throws {
    let read = try hints(for: .advise) { m throws(Errno) in
      try write([DeviceNumber(1)], as: "candidates", m)
      try m.entry("verdicts", "b") { () throws(Errno) in try m.append(true) }
      try m.entry("sampling-device", "t") { () throws(Errno) in try m.append(UInt64(9)) }
    }.get()
    var wanted = Hints()
    wanted.set(candidates: DeviceList([DeviceNumber(1)]))
    #expect(read == wanted)
    let wrong = try hints(for: .advise) { m throws(Errno) in
      try m.entry("verdicts", "u") { () throws(Errno) in try m.append(UInt32(1)) }
    }
    #expect(throws: BusError.self) { try wrong.get() }
  }

  // MARK: Users of Advise

  func users(_ list: [(UInt64, UInt32)]) throws -> [AdviceUser] {
    let call = try bus.call { m throws(Errno) in
      try m.open("a", "(tu)")
      for (device, bits) in list {
        try m.open("r", "tu")
        try m.append(device)
        try m.append(bits)
        try m.close()
      }
      try m.close()
    }
    return try call.message.readUsers()
  }

  @Test func unknownBitsArePassedOver() throws {
    let read = try users([(7, 5), (8, 0), (9, 0xffff_fff8)])
    #expect(
      read == [
        AdviceUser(DeviceNumber(7), [.sample, .capture]), AdviceUser(DeviceNumber(8), []),
        AdviceUser(DeviceNumber(9), []),
      ])
  }

  @Test func nobodyOrTooManyAreRefused() throws {
    for count in [0, 9] {
      #expect(throws: BusError.self) { try users(Array(repeating: (7, 1), count: count)) }
    }
    #expect(try users(Array(repeating: (7, 1), count: 8)).count == 8)
  }
}
