// How words are ordered, counted and guessed for people.

/// Whether `a` comes before `b`, with numbers in them compared as numbers: renderD9, renderD10.
package func isBefore(_ a: String, _ b: String) -> Bool {
  var (a, b) = (Substring(a), Substring(b))
  while let x = a.first, let y = b.first {
    if x.isASCIIDigit && y.isASCIIDigit {
      let (m, n) = (a.prefix(while: \.isASCIIDigit), b.prefix(while: \.isASCIIDigit))
      let (p, q) = (m.drop { $0 == "0" }, n.drop { $0 == "0" })
      if p != q { return p.count != q.count ? p.count < q.count : p < q }
      (a, b) = (a.dropFirst(m.count), b.dropFirst(n.count))
    } else {
      if x != y { return x < y }
      (a, b) = (a.dropFirst(), b.dropFirst())
    }
  }
  return a.count < b.count
}

extension Character {
  fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

/// "1 call", "2 calls".
package func counted(_ count: some BinaryInteger, _ what: String) -> String {
  "\(count) \(what)\(count == 1 ? "" : "s")"
}

/// The word that was meant, where one is near enough: it begins so, or one letter in three is
/// another.
package func nearest(to word: String, among words: [String]) -> String? {
  let longer = words.filter { $0.hasPrefix(word) }
  if longer.count == 1 { return longer[0] }
  let near = words.map { ($0, distance(Array(word), Array($0))) }.min { $0.1 < $1.1 }
  guard let (best, steps) = near, 3 * steps <= max(word.count, best.count) else { return nil }
  return best
}

/// Letters to insert, remove or replace (Levenshtein).
private func distance(_ a: [Character], _ b: [Character]) -> Int {
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, y) in b.enumerated() {
      let above = row[j + 1]
      row[j + 1] = min(above + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
      diagonal = above
    }
  }
  return row[b.count]
}
