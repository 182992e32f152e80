// A path through structures in C's notation: "tbo.resource->mem_type", "mm.placements[0]->type".

/// The end of a path: offsets in bytes, one more than there are pointers to follow.
package struct Place: Equatable {
  package var offsets: [Int]
  /// Bytes of the value.
  package var width: Int
}

/// The type data of one module, and of the modules that define types which it only declares.
package struct Types {
  package var own: TypeData
  package var others: [TypeData]
  package init(_ own: TypeData, others: [TypeData] = []) {
    self.own = own
    self.others = others
  }

  /// nil: this kernel has no such structure or member, or the member is no plain number.
  package func place(of path: String, in structure: String) throws(FormatError) -> Place? {
    guard var (data, id) = try find(structure) else { return nil }
    var offsets = [0]
    for step in try TypePath.steps(path) {
      switch step {
      case .member(let name):
        guard let member = try data.member(name, of: id) else { return nil }
        offsets[offsets.count - 1] += member.offset
        id = member.type
      case .first:
        // An array's first element, or the first element that a pointer points to.
        if let element = try data.element(of: id) { id = element } else { fallthrough }
      case .follow:
        switch try data.pointee(of: id) {
        case .type(let target): id = target
        case .declared(let name):
          guard let found = try find(name) else { return nil }
          (data, id) = found
        case nil: return nil
        }
        offsets.append(0)
      }
    }
    guard let width = try data.width(of: id) else { return nil }
    return Place(offsets: offsets, width: width)
  }

  /// The offset of a member, or of a member of a member, of any type.
  package func offset(of path: String, in structure: String) throws(FormatError) -> Int? {
    guard let (data, start) = try find(structure) else { return nil }
    var (id, offset) = (start, 0)
    for step in try TypePath.steps(path) {
      guard case .member(let name) = step, let member = try data.member(name, of: id) else {
        return nil
      }
      offset += member.offset
      id = member.type
    }
    return offset
  }

  /// The offset of a member that is a pointer.
  package func pointer(_ name: String, in structure: String) throws(FormatError) -> Int? {
    guard let place = try place(of: name, in: structure), place.offsets.count == 1, place.width == 8
    else {
      return nil
    }
    return place.offsets[0]
  }

  private func find(_ structure: String) throws(FormatError) -> (TypeData, TypeData.ID)? {
    for data in [own] + others {
      if let id = try data.structure(structure) { return (data, id) }
    }
    return nil
  }
}

private enum TypePath {
  enum Step {
    case member(String)
    /// `[0]`
    case first
    /// `->`
    case follow
  }

  static func steps(_ path: String) throws(FormatError) -> [Step] {
    var steps: [Step] = []
    var rest = path.utf8[...]
    while let next = rest.first {
      if next == UInt8(ascii: ".") {
        rest.removeFirst()
      } else if rest.starts(with: "->".utf8) {
        steps.append(.follow)
        rest.removeFirst(2)
      } else if rest.starts(with: "[0]".utf8) {
        steps.append(.first)
        rest.removeFirst(3)
      } else {
        let name = rest.prefix { !".-[".utf8.contains($0) }
        guard !name.isEmpty else { throw FormatError("\(path) is no path") }
        steps.append(.member(String(decoding: name, as: UTF8.self)))
        rest = rest[name.endIndex...]
      }
    }
    return steps
  }
}
