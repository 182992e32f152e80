// swift-tools-version: 6.3
// primed: tells Wayland compositors on which DRM device a client's DMA-BUF should be used.
// A room a target; arrows only point down. See README.md, "How the code is laid out".
import Glibc
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

// How the daemon is linked in release builds, for little memory: Tests/Benchmarks/run says how much
// it takes, and where. To SwiftPM such flags are unsafe: other packages may depend on PrimedClient,
// but not on primed.
let link = "\(Context.packageDirectory)/Sources/primed/Link"
var lean = [
  "-use-ld=lld", "-Xlinker", "--no-export-dynamic",
  // What runs of Swift's library side by side, as Tests/Benchmarks/order lists it.
  "-Xlinker", "--symbol-ordering-file=\(link)/order", "-Xlinker", "--no-warn-symbol-ordering",
]
// Packed relocations take a twentieth of the space; glibc reads them from 2.36 on.
let libc = UnsafeMutablePointer<CChar>.allocate(capacity: 32)
confstr(Int32(_CS_GNU_LIBC_VERSION), libc, 32)
let glibc = String(cString: libc).split { !$0.isNumber }.compactMap { Int($0) }
if !glibc.lexicographicallyPrecedes([2, 36]) {
  lean += ["-Xlinker", "-z", "-Xlinker", "pack-relative-relocs"]
}
// libstdc++ costs a megabyte and little of it is used, so the static one is linked where it is
// installed: in Fedora it is a package of its own.
var archives = glob_t()
if glob("/usr/lib*/gcc/*/*/libstdc++.a", 0, nil, &archives) == 0 {
  lean += ["-L\(link)", "-Xclang-linker", "-static-libgcc"]
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
    room("Bus", ["Kernel", "Placement", "Linux", "CShims", "CBus", "CSystemd"]),
    room(
      "Broker",
      [
        "Bus", "Engine", "Simulation", "DRM", "Udev", "Introspection", "Kernel", "Placement",
        "Linux",
        "CShims",
      ]),
    .executableTarget(
      name: "primed", dependencies: ["Broker", "Bus", "Linux"], exclude: ["Link"],
      swiftSettings: settings,
      linkerSettings: [.unsafeFlags(lean, .when(platforms: [.linux], configuration: .release))]),
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
