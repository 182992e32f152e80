// An administrator's rows of the pair table. Lines that can't be read are logged and skipped: a
// mistake in the file must not stop the service.

internal import Glibc
internal import Linux
internal import Placement

func readOwnPairs(_ path: String) -> [PairRow] {
  let (text, isWhole): (String, Bool)
  do throws(Errno) { (text, isWhole) = try readFile(path) } catch {
    if error.code != ENOENT { Log.write(.warning, "\(path) can't be read: \(error)") }
    return []
  }
  if !isWhole {
    Log.write(.warning, "\(path) is longer than \(fileLimit) bytes: the rest is left out")
  }
  let (rows, errors) = PairRow.parse(text)
  for error in errors.prefix(Limits.pairFileLines) {
    Log.write(.warning, "\(path):\(error.line): \(error.reason); the line is left out")
  }
  if errors.count > Limits.pairFileLines {
    Log.write(.warning, "\(path): \(errors.count - Limits.pairFileLines) more lines are left out")
  }
  Log.write(.info, "\(path): \(rows.count) row\(rows.count == 1 ? "" : "s") for the pair table")
  return rows
}
