// primectl monitor: what primed tells everybody, as it happens.

import ArgumentParser
import Bus
import Foundation

struct MonitorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Print primed's signals as they come, until interrupted.")

  @OptionGroup var options: BusOptions

  func run() throws {
    let json = options.json
    try options.connect().monitor { path, signal in
      if json {
        try? printJSON(["path": path, "signal": signal])
      } else {
        print("\(signal)  \(path)")
      }
      fflush(nil)
    }
  }
}
