// swift-tools-version: 6.2
// primed: tells Wayland compositors on which DRM device a client's DMA-BUF should be used.
// A room a target; arrows only point down. See README.md, "How the code is laid out".
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

func room(_ name: String, _ below: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: below, swiftSettings: settings)
}

func tests(_ name: String, _ of: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: of, swiftSettings: settings)
}

let package = Package(
  name: "primed",
  products: [
    .executable(name: "primed", targets: ["primed"]),
    .executable(name: "primectl", targets: ["primectl"]),
    .executable(name: "primed-introspect", targets: ["primed-introspect"]),
    .library(name: "PrimedClient", targets: ["PrimedClient"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
  ],
  targets: [
    // C: system libraries, and what Swift can't import of them.
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd"),
    .systemLibrary(name: "CUdev", pkgConfig: "libudev"),
    .systemLibrary(name: "CDRM", pkgConfig: "libdrm"),
    .target(name: "CShims", dependencies: ["CSystemd", "CDRM"]),
    .target(name: "CBus", dependencies: ["CSystemd"]),
    .target(name: "CBPF"),

    // Pure.
    room("Placement"),

    // The ports, and what stands behind them.
    room("Linux", ["CShims", "CSystemd"]),
    room("Kernel", ["Placement", "Linux"]),
    room("DRM", ["Kernel", "Placement", "Linux", "CShims", "CDRM"]),
    room("Udev", ["DRM", "Kernel", "Placement", "Linux", "CShims", "CUdev"]),

    room("Introspection", ["Kernel", "Placement", "Linux", "CBPF"]),
    // The privileged half of Introspection: what primed-introspect is made of, and nothing else.
    .target(
      name: "BPFLoader", dependencies: ["CBPF"],
      exclude: ["Program/build", "Program/dmabuf.bpf.c"],
      resources: [.embedInCode("Program/dmabuf.bpf.o")], swiftSettings: settings),

    // The query's way, and a machine in a file to play it on.
    room("Engine", ["Kernel", "Placement", "Linux"]),
    .target(
      name: "Simulation", dependencies: ["Engine", "Kernel", "Placement", "Linux", "CShims"],
      resources: [.embedInCode("Scenarios")], swiftSettings: settings),

    // The service.
    room("Bus", ["Kernel", "Placement", "Linux", "CBus", "CSystemd"]),
    room(
      "Broker",
      [
        "Bus", "Engine", "Simulation", "DRM", "Udev", "Introspection", "Kernel", "Placement",
        "Linux",
        "CShims",
      ]),
    .executableTarget(
      name: "primed", dependencies: ["Broker", "Bus", "Linux"], swiftSettings: settings),
    .executableTarget(
      name: "primed-introspect", dependencies: ["BPFLoader"], swiftSettings: settings),
    .executableTarget(
      name: "primectl",
      dependencies: [
        "Bus", "DRM", "Udev", "Simulation", "Engine", "Kernel", "Placement", "Linux", "CShims",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: settings),

    tests("PlacementTests", ["Placement"]),
    // For compositors: in C, and in Swift over it.
    .target(name: "CPrimedClient", linkerSettings: [.linkedLibrary("systemd")]),
    .target(
      name: "PrimedClient", dependencies: ["CPrimedClient"],
      swiftSettings: [.swiftLanguageMode(.v6)]),
    .executableTarget(
      name: "PlaceExample", dependencies: ["PrimedClient"], path: "Tests/Examples/PlaceExample",
      swiftSettings: [.swiftLanguageMode(.v6)]),

    tests("BrokerTests", ["Broker", "Bus"]),
    .target(name: "CAllocations", path: "Tests/CAllocations"),
    tests("EngineTests", ["Engine", "Kernel", "Placement", "Linux", "CAllocations"]),
    tests("SimulationTests", ["Simulation", "Engine", "Kernel", "Placement", "Linux"]),
    // A mock-up of sysfs for UdevTests: umockdev's preload library, linked so that it goes before libc.
    .systemLibrary(name: "CUmockdev", path: "Tests/CUmockdev", pkgConfig: "umockdev-1.0"),
    .target(name: "MockUdev", dependencies: ["CUmockdev"], path: "Tests/MockUdev"),
    .testTarget(
      name: "UdevTests", dependencies: ["Udev", "Kernel", "Placement", "Linux", "MockUdev"],
      swiftSettings: settings, linkerSettings: [.linkedLibrary(":libumockdev-preload.so.0")]),
    tests("LinuxTests", ["Linux", "CShims"]),
    tests(
      "IntrospectionTests",
      ["BPFLoader", "Introspection", "Kernel", "Placement", "Linux", "CBPF", "CShims"]),
  ]
)
