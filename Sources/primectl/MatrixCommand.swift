// primectl matrix: which device can use whose buffers, from which memory, without a move.

import ArgumentParser
import Inspection

struct MatrixCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "matrix",
    abstract: "Show which device can use whose buffers where they lie.",
    discussion: """
      A line for each memory of a device that buffers are exported from, a column for each device that \
      would use them. What is said comes from the pair table, from what primed measured on this machine, \
      with --recent from what it answered lately (root's to see), or, with --simulate, from what the \
      scenario's steps showed. Where a terminal is too narrow, the devices are numbered.

      Examples:
        primectl matrix
        primectl matrix --why
        primectl matrix --svg matrix.svg
        sudo primectl matrix --recent
        primectl matrix --simulate hybrid-laptop
        primectl matrix --json | jq '.[] | select(.outcome == "hangs")'
      """)

  @Flag(help: "Print each pair in words, with the reason.")
  var why = false
  @OptionGroup var drawing: DrawingOptions

  func run() throws {
    try drawing.show(
      \.matrixPicture, \.matrixJSON, { $0.matrixText(.output, why: why) })
  }
}
