// Machines that can exist, from a seed: common drivers in common combinations, with the memory,
// nodes and reaches that their kernels give them.

internal import Placement

package enum RandomKernel: String, Sendable, CaseIterable {
  /// A released kernel, without introspection.
  case plain
  /// A released kernel, with introspection.
  case introspection
  /// A kernel with the NO_MOVE flag.
  case flag
}

struct RandomMachine {
  private(set) var scenario: Scenario
  private var random: Seeded
  /// By device: whether it can be unplugged; whether it suspends itself when idle.
  private(set) var removable: [Bool] = []
  private(set) var sleeps: [Bool] = []

  init(_ kernel: RandomKernel, _ random: Seeded) {
    self.random = random
    scenario = Scenario(name: "random machine")
    scenario.kernel.introspection = kernel == .introspection
    scenario.kernel.noMove = kernel == .flag ? self.random.pick([.honoured, .validated]) : .ignored
    scenario.kernel.version = self.random.pick([
      KernelVersion(7, 3): 6, KernelVersion(6, 12): 3, KernelVersion(6, 1): 1,
    ])
    addDevices()
    shuffle()
    addReaches()
  }

  /// The generator in its current state, for the day's random numbers.
  var rest: Seeded { random }

  // MARK: devices

  private enum Kind { case laptop, desktop, server, guest, board }

  private mutating func addDevices() {
    switch random.pick([Kind.laptop: 34, .desktop: 24, .server: 8, .guest: 14, .board: 20]) {
    case .laptop: addLaptop()
    case .desktop: addDesktop()
    case .server: addServer()
    case .guest: addGuest()
    case .board: addBoard()
    }
    if scenario.devices.count < 4, random.percent(12) {
      add(random.pick(["vgem", "vkms", "simpledrm"]))
    }
  }

  private mutating func addLaptop() {
    addIntegrated(connectors: ["eDP-1"], boots: true)
    if random.percent(75) { addDiscrete(connectors: random.percent(70) ? ["HDMI-A-1"] : []) }
    if random.percent(15) { addSink() }
    if random.percent(12) { addDiscrete(connectors: ["DP-1"], removable: true) }
  }

  private mutating func addDesktop() {
    let hasIntegrated = random.percent(45)
    if hasIntegrated { addIntegrated(connectors: ["HDMI-A-1"], boots: random.percent(30)) }
    let cards = 1 + random.pick([0: 6, 1: 3, 2: 1])
    for card in 0..<cards { addDiscrete(connectors: ["DP-\(card + 1)"], boots: card == 0) }
    if random.percent(10) { addSink() }
  }

  private mutating func addServer() {
    add(random.pick(["ast", "mgag200", "hibmc"])) { $0.connectors = ["VGA-1"] }
    for card in 0..<random.below(3) { addDiscrete(connectors: ["DP-\(card + 1)"]) }
  }

  private mutating func addGuest() {
    let driver = random.pick([
      "virtio_gpu": 6, "vmwgfx": 3, "qxl": 2, "bochs-drm": 2, "cirrus": 1, "hyperv_drm": 1,
    ])
    for _ in 0..<(driver == "virtio_gpu" && random.percent(25) ? 2 : 1) {
      add(driver) { $0.connectors = ["Virtual-1"] }
    }
    if random.percent(35) { addDiscrete(connectors: []) }
    if random.percent(20) { add("vgem") }
  }

  private mutating func addBoard() {
    let (display, render) = random.pick([
      ("rockchip", "panfrost"), ("rockchip", "panthor"), ("vc4", "v3d"), ("apple-drm", "asahi"),
      ("meson", "lima"), ("sun4i-drm", "lima"), ("mediatek", "panfrost"), ("imx-drm", "etnaviv"),
      ("msm", nil), ("mxsfb-drm", "etnaviv"),
    ])
    let connector = random.pick(["DSI-1", "HDMI-A-1", "eDP-1"])
    add(display) { $0.connectors = [connector] }
    guard let render else { return }
    let index = scenario.devices.count - 1
    add(render) { $0.display = index }
    if random.percent(15) { addSink() }
    if random.percent(6) { addDiscrete(connectors: ["DP-1"]) }
  }

  private mutating func addSink() {
    add(random.pick(["evdi": 3, "udl": 2, "gud": 1]), removable: true) {
      $0.connectors = ["DVI-I-1"]
    }
  }

  private mutating func addIntegrated(connectors: [String], boots: Bool) {
    let driver = random.pick(["i915": 45, "xe": 20, "amdgpu": 35])
    // amdgpu treats an APU's carve-out of system memory as dedicated memory.
    let carveOut = driver == "amdgpu" && random.percent(85)
    add(driver) {
      $0.connectors = connectors
      $0.bootVGA = boots
      $0.dedicated = carveOut ? 512 << 20 : 0
      $0.integrated = true
    }
  }

  private mutating func addDiscrete(
    connectors: [String], boots: Bool = false, removable: Bool = false
  ) {
    let driver = random.pick([
      "amdgpu": 36, "nvidia-drm": 30, "nouveau": 12, "radeon": 8, "xe": 9, "i915": 5,
    ])
    let sleepy = !boots && random.percent(60)
    let memory = UInt64(4 << random.below(3)) << 30
    let asleep = sleepy && random.percent(30)
    let isFirst = boots && !scenario.devices.contains(where: \.bootVGA)
    add(driver, removable: removable, sleeps: sleepy) {
      $0.connectors = connectors
      $0.bootVGA = isFirst
      $0.dedicated = memory
      $0.integrated = false
      if asleep { $0.power = .suspended }
    }
  }

  /// Adds a device with the nodes that its driver makes; devices are added in the order of probing.
  private mutating func add(
    _ driver: String, removable: Bool = false, sleeps: Bool = false,
    _ edit: (inout DeviceModel) -> Void = { _ in }
  ) {
    let facts = DriverFacts.of(driver)
    let same = scenario.devices.count { $0.driver == driver }
    let id = driver.split(separator: "-")[0] + (same == 0 ? "" : "\(same + 1)")
    var device = DeviceModel(id: String(id), driver: driver)
    device.role = facts.role
    if facts.memory(on: scenario.kernel.version) == .dedicated { device.dedicated = 128 << 20 }
    edit(&device)
    device.integrated = device.integrated && facts.role != .sink
    device.card = UInt32(scenario.devices.count)
    let hasRender = [.render, .split].contains(facts.role) || driver == "vgem" || driver == "msm"
    if hasRender { device.render = 128 + device.card! }
    scenario.devices.append(device)
    self.removable.append(removable)
    self.sleeps.append(sleeps)
  }

  /// Minor numbers are in the order of probing, which is arbitrary.
  private mutating func shuffle() {
    let minors = scenario.devices.indices.shuffled(using: &random)
    for (index, minor) in minors.enumerated() {
      scenario.devices[index].card = UInt32(minor)
      if scenario.devices[index].render != nil {
        scenario.devices[index].render = 128 + UInt32(minor)
      }
    }
  }

  // MARK: reach

  private mutating func addReaches() {
    let kernel = scenario.kernel.version
    let hasPeers = kernel >= KernelVersion(7, 0) && random.percent(40)
    let facts = scenario.devices.map { DriverFacts.of($0.driver) }
    for importer in scenario.devices.indices
    where facts[importer].imports(on: kernel) == .anything {
      reach(importer, nil, .system)
      for exporter in scenario.devices.indices where exporter != importer {
        let reachesPages = facts[exporter].exports(to: facts[importer], on: kernel)
        if reachesPages { reach(importer, exporter, .system) }
        guard scenario.devices[exporter].dedicated > 0 else { continue }
        let isPeer = hasPeers && facts[importer].isDynamic && facts[exporter].isDynamic
        // Who maps nothing reads video memory, too, through the exporter's mapping for the CPU.
        let readsByCPU = reachesPages && facts[exporter].exports == .toThoseThatMapNothing
        if isPeer || readsByCPU { reach(importer, exporter, .dedicated) }
        if facts[exporter].hangsOthers && !facts[importer].hangsOthers {
          reach(importer, exporter, .hangs)
        }
      }
    }
  }

  private mutating func reach(_ importer: Int, _ exporter: Int?, _ how: Reach.How) {
    scenario.reaches.append(Reach(importer: importer, exporter: exporter, how: how))
  }
}
