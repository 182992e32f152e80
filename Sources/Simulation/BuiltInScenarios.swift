// The scenarios that come with primed, by name: the files of Scenarios/, embedded when it is built.

/// Sorted by name. A test holds this list against the directory.
private let builtIns: [(name: String, text: [UInt8])] = [
  ("hybrid-laptop", PackageResources.hybrid_laptop_json)
]

extension Scenario {
  package static var builtInNames: [String] { builtIns.map(\.name) }

  /// The file's text; nil: no built-in has this name.
  package static func builtInText(_ name: String) -> [UInt8]? {
    builtIns.first { $0.name == name }?.text
  }

  /// A built-in's name, else the path of a file.
  package init(named name: String) throws(ScenarioError) {
    if let text = Self.builtInText(name) {
      try self.init(json: text)
      return
    }
    guard let text = readScenarioFile(name) else {
      throw .content(path: name, problem: "no built-in scenario and no file that can be read")
    }
    try self.init(json: text)
  }
}
