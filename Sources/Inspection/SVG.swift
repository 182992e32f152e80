// An SVG 1.1 picture: shapes, text, and tooltips. All text from outside is escaped.

package struct SVG: Sendable {
  /// The colours of Okabe and Ito, which people with colour blindness can tell apart. Dark text is
  /// readable on each.
  package enum Colour: String, Sendable {
    case green = "#009e73"
    case sky = "#56b4e9"
    case yellow = "#f0e442"
    case orange = "#e69f00"
    case vermillion = "#d55e00"
    case purple = "#cc79a7"
    case blue = "#0072b2"
    case grey = "#d9d9d9"
    case pale = "#f4f4f4"
    case white = "#ffffff"
    case line = "#767676"
    case text = "#1a1a1a"
    case none
  }
  package enum Anchor: String, Sendable { case start, middle, end }

  private let width: Int
  private let height: Int
  private let title: String
  private var body: [String] = []

  /// - Parameter title: what it shows, for screen readers.
  package init(width: Int, height: Int, title: String) {
    (self.width, self.height, self.title) = (width, height, title)
    rectangle(0, 0, width, height, .white)
  }

  package var text: String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" \
    viewBox="0 0 \(width) \(height)" role="img" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13">
    <title>\(escaped(title))</title>
    \(body.joined(separator: "\n"))
    </svg>

    """
  }

  package mutating func rectangle(
    _ x: Int, _ y: Int, _ width: Int, _ height: Int, _ fill: Colour, stroke: Colour = .none,
    dashed: Bool = false, hover: String = ""
  ) {
    let dash = dashed ? #" stroke-dasharray="5 3""# : ""
    add(
      #"rect x="\#(x)" y="\#(y)" width="\#(width)" height="\#(height)" rx="3" fill="\#(fill.rawValue)""#
        + #" stroke="\#(stroke.rawValue)"\#(dash)"#, hover)
  }

  package mutating func write(
    _ words: String, _ x: Int, _ y: Int, size: Int = 13, bold: Bool = false,
    _ anchor: Anchor = .start
  ) {
    body.append(
      #"<text x="\#(x)" y="\#(y)" font-size="\#(size)" text-anchor="\#(anchor.rawValue)""#
        + #"\#(bold ? #" font-weight="bold""# : "") fill="\#(Colour.text.rawValue)" pointer-events="none">"#
        + "\(escaped(words))</text>")
  }

  /// From one point to another, leaving and arriving horizontally, with an arrow head at the end.
  package mutating func arrow(
    from a: (x: Int, y: Int), to b: (x: Int, y: Int), _ colour: Colour, width: Int = 2,
    dashed: Bool = false, hover: String = ""
  ) {
    let bend = max(30, abs(b.x - a.x) / 2) * (b.x >= a.x ? 1 : -1)
    let dash = dashed ? #" stroke-dasharray="6 4""# : ""
    let head = b.x >= a.x ? -7 : 7
    add(
      #"path d="M\#(a.x) \#(a.y) C\#(a.x + bend) \#(a.y) \#(b.x - bend) \#(b.y) \#(b.x) \#(b.y)""#
        + #" fill="none" stroke="\#(colour.rawValue)" stroke-width="\#(width)"\#(dash)"#, hover)
    add(
      #"path d="M\#(b.x) \#(b.y) l\#(head) -4 v8 z" fill="\#(colour.rawValue)" stroke="none""#,
      hover)
  }

  private mutating func add(_ element: String, _ hover: String) {
    body.append(
      hover.isEmpty
        ? "<\(element)/>"
        : "<\(element)><title>\(escaped(hover))</title></\(element.prefix { $0 != " " })>")
  }
}

/// Text escaped for XML and HTML, also inside quoted attributes. Characters that XML forbids are
/// dropped.
package func escaped(_ text: String) -> String {
  var safe = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": safe += "&amp;"
    case "<": safe += "&lt;"
    case ">": safe += "&gt;"
    case "\"": safe += "&quot;"
    case "'": safe += "&#39;"
    case "\t", "\n", "\r": safe.unicodeScalars.append(scalar)
    case "\0"..<" ", "\u{fffe}", "\u{ffff}": break
    default: safe.unicodeScalars.append(scalar)
    }
  }
  return safe
}
