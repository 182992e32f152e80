// The running kernel's release.

internal import Glibc

/// As `uname -r` prints it, e.g. "6.12.57+deb13-amd64".
package func kernelRelease() -> String {
  var name = utsname()
  uname(&name)
  return withUnsafeBytes(of: name.release) {
    String(cString: $0.bindMemory(to: CChar.self).baseAddress!)
  }
}
