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

  private func entry(
    _ query: Query, _ answer: Answer, _ exporter: KnownExporter = .noDevice, at now: UInt64 = 0
  ) -> RecentAnswer {
    RecentAnswer(
      query, answer, exporter: exporter, home: .dedicated, residency: .system, at: now)
  }
  private func dgpu() -> DeviceDescription {
    var dgpu = DeviceDescription(stableID: "", sysfsPath: "", driver: "amdgpu")
    dgpu.render = Node(path: "renderD129", number: device)
    dgpu.primary = Node(path: "card1", number: DeviceNumber(major: 226, minor: 1))
    (dgpu.dedicatedMemory, dgpu.integrated) = (8 << 30, false)
    return dgpu
  }

  @Test func theLastOnesAreKeptInOrder() {
    var recent = RecentAnswers()
    #expect(recent.all.isEmpty)
    for inode in 1...UInt64(RecentAnswers.limit + 3) {
      recent.note(entry(query(inode), answer(inode), at: inode))
    }
    #expect(recent.all.map(\.at) == Array(4...UInt64(RecentAnswers.limit + 3)))
  }

  @Test func whatIsAskedEveryFrameIsNewsOnce() {
    var recent = RecentAnswers()
    var news = 0
    for _ in 1...100 {
      for inode in 1...3 as ClosedRange<UInt64> where recent.isNews(query(inode), answer(inode)) {
        news += 1
      }
    }
    #expect(news == 3)
    let moved = answer(1, .moves)
    for other in [
      query(1), query(1) { $0.usage = [.scanout] }, query(1) { $0.candidates = DeviceList([]) },
    ] {
      let isNews = recent.isNews(other, moved)
      #expect(isNews)
    }
  }

  @Test func eventsStandBetweenTheAnswers() {
    var recent = RecentAnswers()
    recent.note(RecentEvent(.plug, dgpu(), at: 1))
    recent.note(entry(query(1), answer(1), at: 1))
    recent.note(RecentEvent(.unplug, dgpu(), at: 1))
    recent.note(entry(query(2), answer(2), at: 3))
    let words = recent.told(at: 5).map { $0.line.split(separator: " ").prefix(3).last ?? "" }
    #expect(words == ["what=plug", "planes=1", "what=unplug", "planes=2"])
    #expect(recent.told(at: 5).map(\.age) == [4, 4, 4, 2])
  }

  @Test func eventsAreBoundedAndThoseBeforeTheOldestAnswerFirst() {
    var recent = RecentAnswers()
    for at in 1...UInt64(RecentAnswers.eventLimit + 5) {
      recent.note(RecentEvent(.suspend, dgpu(), at: at))
    }
    for inode in 1...UInt64(RecentAnswers.limit + 9) {
      recent.note(entry(query(inode), answer(inode)))
    }
    let told = recent.told(at: 0)
    #expect(told.count == RecentAnswers.eventLimit + RecentAnswers.limit)
    #expect(told.firstIndex { $0.answer != nil } == RecentAnswers.eventLimit)
  }

  @Test func aChangeOfPowerOrStateIsAnEvent() {
    var (old, new) = (DeviceEntry(dgpu()), DeviceEntry(dgpu()))
    func kind() -> RecentEvent.Kind? {
      let change = RegistryChange(
        kind: .changed, slot: DeviceSlot(0), entry: new, matters: true)
      return RecentEvent(change, before: old, at: 0)?.kind
    }
    (old.description.power, new.description.power) = (.active, .suspended)
    #expect(kind() == .suspend)
    swap(&old, &new)
    #expect(kind() == .resume)
    (old, new) = (DeviceEntry(dgpu()), DeviceEntry(dgpu()))
    #expect(kind() == nil)
    new.state = .released
    #expect(kind() == .release)
    swap(&old, &new)
    #expect(kind() == .unrelease)
  }

  @Test(arguments: [
    KnownExporter.device(DeviceNumber(major: 226, minor: 129)), .noDevice,
    .possibly(DeviceNumber(major: 226, minor: 1)), .possibly(.none),
  ])
  func aLineOfTheLogIsReadAsItWasWritten(exporter: KnownExporter) {
    let query = query(4097) { hints in
      (hints.format, hints.modifier, hints.usage) = (875_713_112, 0x0200_0000_0000_0001, .scanout)
      (hints.samplingDevice, hints.targetDevice) = (device, DeviceNumber(major: 226, minor: 1))
      hints.candidates = DeviceList([device])
    }
    for query in [query, self.query(1)] {
      let told = Told.answer(ToldAnswer(entry(query, answer(4097), exporter), age: 1234))
      #expect(Told(line: told.line) == told)
    }
  }

  @Test func anEventIsReadAsItWasWritten() {
    for kind in RecentEvent.Kind.allCases {
      let told = Told.event(ToldEvent(RecentEvent(kind, dgpu(), at: 0), age: 7))
      #expect(Told(line: told.line) == told)
    }
  }

  @Test func otherLinesAreNone() {
    for line in [
      "", "answered", "told :1.4 of buffer 4", "answered ago=x planes=1 device=1:1",
      "answered ago=1 planes= device=1:1 access=native confidence=intent",
      "answered ago=1 planes=1 device=1 access=native confidence=intent",
      "answered ago=1 planes=1 device=1:1 access=lovely confidence=intent",
      "happened ago=1 what=nothing driver=i915", "happened what=plug driver=i915",
    ] {
      #expect(Told(line: line) == nil, "\(line)")
    }
  }
}
