// primectl monitor: what primed tells everybody, as it happens.

import ArgumentParser
import Bus
import Glibc
import Simulation

struct MonitorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Print primed's signals as they come, until interrupted.")

  @OptionGroup var options: BusOptions

  func run() throws {
    let json = options.json
    try options.connect().monitor { path, signal in
      if json {
        print(JSON.object([("path", .string(path)), ("signal", .string(signal))]).text)
      } else {
        print("\(signal)  \(path)")
      }
      fflush(nil)
    }
  }
}
