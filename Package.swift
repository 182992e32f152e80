// swift-tools-version: 6.3
// primed: tells Wayland compositors on which DRM device a client's DMA-BUF should be used.
// A room a target; arrows only point down. See Sources/README.md.
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
    .systemLibrary(name: "CJSON", pkgConfig: "json-c"),
    .target(name: "CShims", dependencies: ["CSystemd", "CDRM"]),
    .target(name: "CBus", dependencies: ["CSystemd"]),
    .target(name: "CBPF"),
    // Defines close() and recvmsg() for the whole program: of the daemon only.
    .target(name: "CClose"),

    // Pure.
    room("Placement"),

    // The ports, and what stands behind them.
    room("Linux", ["CShims", "CSystemd"]),
    room("Ports", ["Placement", "Linux"]),
    room("DRM", ["Ports", "Placement", "Linux", "CShims", "CDRM"]),
    room("Udev", ["DRM", "Ports", "Placement", "Linux", "CShims", "CUdev"]),

    room("Introspection", ["Ports", "Placement", "Linux", "CBPF"]),
    // The privileged half of Introspection: what primed-introspect is made of, and nothing else;
    // primectl's doctor reads the type data by it.
    .target(
      name: "BPFLoader", dependencies: ["CBPF"],
      exclude: ["Program/build", "Program/dmabuf.bpf.c"],
      resources: [.embedInCode("Program/dmabuf.bpf.o")], swiftSettings: settings),

    // The query's way, and a machine in a file to play it on.
    room("Engine", ["Ports", "Placement", "Linux"]),
    room("JSON", ["CJSON"]),
    .target(
      name: "Simulation",
      dependencies: ["JSON", "Engine", "Ports", "Placement", "Linux", "CShims"],
      exclude: ["README.md"], resources: [.embedInCode("Scenarios")], swiftSettings: settings),

    // What people are shown: text, pictures, pages; nothing here asks anybody.
    room("Inspection", ["Simulation", "JSON", "Engine", "Ports", "Placement", "Linux"]),

    // What asks the drivers: a worker a device, NO_MOVE detection, introspection's upkeep.
    room(
      "Probing",
      ["DRM", "Introspection", "Engine", "Ports", "Placement", "Linux", "CShims"]),

    // The service.
    room("Bus", ["Ports", "Placement", "Linux", "CShims", "CBus", "CSystemd"]),
    room(
      "Broker",
      [
        "Bus", "Engine", "Simulation", "Probing", "DRM", "Udev", "Introspection", "Ports",
        "Placement", "Linux", "CShims", "CClose",
      ]),
    .executableTarget(
      name: "primed", dependencies: ["Broker", "Bus", "Linux"], swiftSettings: settings),
    .executableTarget(
      name: "primed-introspect", dependencies: ["BPFLoader"], swiftSettings: settings),
    .executableTarget(
      name: "primectl",
      dependencies: [
        "Inspection", "Introspection", "BPFLoader", "Bus", "DRM", "Udev", "Simulation", "JSON",
        "Engine", "Ports",
        "Placement", "Linux", "CShims",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: settings),

    tests("PlacementTests", ["Placement", "Simulation"]),
    // The driver table as text, for Tests/Census.
    .executableTarget(
      name: "driver-table", dependencies: ["Placement"], path: "Tests/Census/DriverTable",
      swiftSettings: settings),
    // For compositors: in C, and in Swift over it.
    .target(
      name: "CPrimedClient",
      exclude: [
        "README.md", "abi", "guard", "meson.build", "meson_options.txt", "primed-client.map",
        "tests",
      ], linkerSettings: [.linkedLibrary("systemd")]),
    .target(
      name: "PrimedClient", dependencies: ["CPrimedClient"],
      swiftSettings: [.swiftLanguageMode(.v6)]),
    .executableTarget(
      name: "PlaceExample", dependencies: ["PrimedClient"], path: "Tests/Examples/PlaceExample",
      swiftSettings: [.swiftLanguageMode(.v6)]),

    tests(
      "BrokerTests",
      ["Broker", "Bus", "Simulation", "Engine", "Ports", "Placement", "Linux", "CShims"]),
    tests("BusTests", ["Bus", "CBus", "CSystemd", "Placement", "Linux"]),
    tests(
      "ProbingTests",
      ["Probing", "Simulation", "DRM", "Engine", "Ports", "Placement", "Linux", "CShims"]),
    .target(name: "CAllocations", path: "Tests/CAllocations"),
    tests("EngineTests", ["Engine", "Simulation", "Ports", "Placement", "Linux", "CAllocations"]),
    tests("SimulationTests", ["Simulation", "JSON", "Engine", "Ports", "Placement", "Linux"]),
    // A mock-up of sysfs for UdevTests: umockdev's preload library, linked so that it goes before
    // libc.
    .systemLibrary(name: "CUmockdev", path: "Tests/CUmockdev", pkgConfig: "umockdev-1.0"),
    .target(name: "MockUdev", dependencies: ["CUmockdev"], path: "Tests/MockUdev"),
    .testTarget(
      name: "UdevTests", dependencies: ["Udev", "Ports", "Placement", "Linux", "MockUdev"],
      swiftSettings: settings, linkerSettings: [.linkedLibrary(":libumockdev-preload.so.0")]),
    tests("LinuxTests", ["Linux", "CShims"]),
    tests("InspectionTests", ["Inspection", "Simulation", "JSON", "Placement", "Linux"]),
    tests("ClosingTests", ["CClose", "Linux", "CShims"]),
    tests(
      "IntrospectionTests",
      ["BPFLoader", "Introspection", "Ports", "Placement", "Linux", "CBPF", "CShims"]),
  ]
)
