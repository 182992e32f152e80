// The names in Swift equal those in the vtables in C.

import CBus
import CSystemd
import Placement
import Testing

@testable import Bus

@Suite struct NamesTests {
  /// Members of a vtable, by sd-bus's kind of row.
  func members(_ table: UnsafePointer<sd_bus_vtable>) -> [UInt8: [String]] {
    var (found, row) = ([UInt8: [String]](), table)
    while row.pointee.type != UInt8(ascii: ">") {
      let member: UnsafePointer<CChar>? =
        switch row.pointee.type {
        case UInt8(ascii: "M"): row.pointee.x.method.member
        case UInt8(ascii: "S"): row.pointee.x.signal.member
        case UInt8(ascii: "P"), UInt8(ascii: "W"): row.pointee.x.property.member
        default: nil
        }
      if let member { found[row.pointee.type, default: []].append(String(cString: member)) }
      row += 1
    }
    return found
  }

  func of(_ kind: Unicode.Scalar, _ table: [UInt8: [String]]) -> [String] {
    table[UInt8(ascii: kind)] ?? []
  }

  @Test func ofTheService() {
    let table = members(primed_broker_vtable())
    #expect(of("M", table) == Names.Method.allCases.map(\.rawValue))
    #expect(of("S", table) == Names.Signal.allCases.map(\.rawValue))
    #expect(of("P", table) == Names.Property.allCases.map(\.rawValue))
  }

  @Test func ofADevice() {
    let table = members(primed_device_vtable())
    #expect(of("P", table) == Names.DeviceProperty.allCases.map(\.rawValue))
  }

  @Test func errorsAreTheContracts() {
    let own: [BusError] = [
      .invalidArgument(""), .notDmaBuf(plane: 0), .tooManyPlanes, .limitsExceeded(""),
      .unknownDevice(.none), .released(.none), .failed(""),
    ]
    for error in own { #expect(error.name.hasPrefix("\(Names.broker).Error.")) }
    #expect(Set(own.map(\.name)).count == own.count)
  }
}
