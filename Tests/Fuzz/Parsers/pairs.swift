// An administrator's rows of the pair table: what is read as a row is read as the same row when it
// is written.

func fuzzPairs(_ bytes: UnsafeBufferPointer<UInt8>) {
  let text = String(decoding: bytes, as: UTF8.self)
  for row in PairRow.parse(text).rows {
    let again = PairRow.parse(row.words.joined(separator: " "))
    precondition(again.errors.isEmpty && again.rows.count == 1, "\(row.words)")
    precondition(again.rows[0].words == row.words, "\(row.words), then \(again.rows[0].words)")
  }
}
