// primectl release: makes primed close a device, for VFIO, an unplug or unloading a driver.

import ArgumentParser
import Bus
import Glibc
import Linux

struct ReleaseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release",
    abstract: "Close every node of a device, and keep primed off it while a command runs.",
    discussion: """
      Without a command, until interrupted. Takes root, or the polkit action \
      org.primed.release-device. There is no --json: all that is printed is the command's.

      Examples:
        primectl release renderD129 -- modprobe -r nvidia-drm
        primectl release pci-0000:01:00.0 -- virsh start gaming
      """)

  @Argument(
    help: "The device: node, number, stable id or driver.", completion: devicesCompletion)
  var device: String
  @Option(help: "Why, for the log.")
  var why = "primectl release"
  @Argument(parsing: .postTerminator, help: "What to run meanwhile; its exit status is primectl's.")
  var command: [String] = []
  @OptionGroup var options: BusOptions

  func run() throws {
    let client = try options.connect()
    let info = try client.device(named: device)
    let guardFD = try client.release(info.number, why: why)
    let status = try withExtendedLifetime(guardFD) { try hold(info) }
    throw ExitCode(status)
  }

  private func hold(_ info: DeviceInfo) throws -> Int32 {
    guard let program = command.first else {
      print("\(info.node) is released; interrupt to give it back")
      while true { pause() }
    }
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, program, nil, nil, &arguments, environ)
    guard code == 0 else {
      throw CleanExit.failure("can't run \(program): \(Errno(code)); the device is given back")
    }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    // As in a shell: the exit status, or 128 plus the signal.
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
  }
}
