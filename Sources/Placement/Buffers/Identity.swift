// What names a device, a buffer, a client: plain numbers, compared and hashed, never dereferenced.

/// A dev_t as D-Bus carries it (`t`). 0 names nothing.
package struct DeviceNumber: Hashable, Sendable {
  package var rawValue: UInt64
  package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  package static let none = DeviceNumber(0)

  /// glibc's `makedev`: 12 + 20 bits, the rest spread above.
  package init(major: UInt32, minor: UInt32) {
    let (a, i) = (UInt64(major), UInt64(minor))
    rawValue = (a & 0xfff) << 8 | (a & ~0xfff) << 32 | (i & 0xff) | (i & ~0xff) << 12
  }
  package var major: UInt32 { UInt32((rawValue >> 8) & 0xfff | (rawValue >> 32) & 0xffff_f000) }
  package var minor: UInt32 { UInt32(rawValue & 0xff | (rawValue >> 12) & 0xffff_ff00) }
}

/// A DMA-BUF: its inode on the kernel's one dma-buf file system. The inode is a 64-bit counter that
/// is never reused while the system runs (dma-buf.c, dma_buf_getfile).
package struct BufferIdentity: Hashable, Sendable {
  package var inode: UInt64
  package init(inode: UInt64) { self.inode = inode }
}

/// Milliseconds of CLOCK_BOOTTIME, or of a scenario's virtual clock.
package typealias Milliseconds = UInt64
