import CShims
import Placement
import Testing

/// The driver table and the ioctls in C name the same drivers.
@Suite struct OwnIoctlsTests {
  @Test func aRowHasThemWhereCShimsKnowsThem() {
    for row in Driver.table {
      #expect(primed_driver_known(row.names[0]) == row.ownIoctls, "\(row.names[0])")
    }
  }
}
