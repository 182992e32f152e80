// Prints the driver table as it holds on one kernel, a JSON object a line, for the census to
// compare with that kernel's source:  driver-table MAJOR.MINOR

import Placement

guard CommandLine.arguments.count == 2, let kernel = KernelVersion(CommandLine.arguments[1]) else {
  fatalError("driver-table: give a kernel, as 7.3")
}

func json(_ text: String) -> String {
  "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
}
func json(_ list: [String]) -> String { "[" + list.map(json).joined(separator: ", ") + "]" }

let calls: [(String, DriverInfo.Wakes)] = [
  ("open", .open), ("ioctl", .ioctl), ("close", .close), ("import", .import),
]

for row in Driver.table {
  let wakes = row.wakes.map { wakes in json(calls.filter { wakes.contains($0.1) }.map(\.0)) }
  let layouts = row.layouts.map { json($0.map { "\($0)".uppercased() }) }
  let rows = PairTable().rows(of: DriverID(row.names[0]), kernel: kernel)
  let attachWakes = rows.row(DriverID(.other))?.attach == .wakes
  let fields = [
    ("names", json(row.names)), ("bus_names", json(row.busNames)), ("kind", json("\(row.kind)")),
    ("exporter_names", json(row.exporterNames(on: kernel))),
    ("imports", row.importFunction(on: kernel).map(json) ?? "null"),
    ("refuses_imports", "\(row.refusesImports?.contains(kernel) == true)"),
    ("refuses_attachments", "\(row.refusesAttachments?.contains(kernel) == true)"),
    ("system_only", "\(row.exportsSystemMemoryOnly(on: kernel))"), ("wakes", wakes ?? "null"),
    ("wakes_at_attach", "\(attachWakes)"), ("layouts", layouts ?? "null"),
    ("source", json(row.source)),
  ]
  print("{" + fields.map { json($0.0) + ": " + $0.1 }.joined(separator: ", ") + "}")
}
