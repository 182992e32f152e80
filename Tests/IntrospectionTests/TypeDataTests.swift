import Testing

@testable import BPFLoader

@Suite struct TypeDataTests {
  /// struct inner { u32 a; union { u16 low; u32 all; }; u8 flag:1; } struct outer { void *p; const
  /// inner_t in; struct inner *to; struct far *elsewhere; u64 list[4]; };
  private func example() -> TypeDataBuilder {
    var b = TypeDataBuilder()
    let u8 = b.int("unsigned char", bytes: 1)
    let u16 = b.int("unsigned short", bytes: 2)
    let u32 = b.int("unsigned int", bytes: 4)
    let u64 = b.int("unsigned long", bytes: 8)
    let both = b.structure(
      "", bytes: 4, [.init(name: "low", type: u16, bit: 0), .init(name: "all", type: u32, bit: 0)])
    let inner = b.structure(
      "inner", bytes: 12,
      [
        .init(name: "a", type: u32, bit: 0), .init(name: "", type: both, bit: 32),
        .init(name: "flag", type: u8, bit: 64, bitfield: 1),
        .init(name: "after", type: u8, bit: 72),
      ])
    let alias = b.const(b.typedef("inner_t", inner))
    _ = b.structure(
      "outer",
      laidOut([
        ("p", b.pointer(to: 0), 8), ("in", alias, 12), ("to", b.pointer(to: b.const(inner)), 8),
        ("elsewhere", b.pointer(to: b.forward("far")), 8), ("list", b.array(of: u64, 4), 32),
      ]))
    return b
  }

  private func place(_ path: String, _ types: Types) throws -> Place? {
    try types.place(of: path, in: "outer")
  }

  @Test func members() throws {
    let types = Types(try example().data())
    #expect(try place("p", types) == Place(offsets: [0], width: 8))
    #expect(try place("in.a", types) == Place(offsets: [8], width: 4))
    #expect(try place("in.all", types) == Place(offsets: [12], width: 4))
    #expect(try place("in.low", types) == Place(offsets: [12], width: 2))
    #expect(try place("in.after", types) == Place(offsets: [17], width: 1))
    #expect(try place("list[0]", types) == Place(offsets: [40], width: 8))
  }

  @Test func pointers() throws {
    let types = Types(try example().data())
    #expect(try place("to->all", types) == Place(offsets: [24, 4], width: 4))
    #expect(try types.pointer("to", in: "outer") == 24)
  }

  @Test func whatCantBeReadIsNotThere() throws {
    let types = Types(try example().data())
    for path in ["q", "in.flag", "in", "in->a", "p->a", "to.a", "elsewhere->x", "list.a", "in.a.b"]
    {
      #expect(try place(path, types) == nil, "\(path)")
    }
    #expect(try types.place(of: "a", in: "far") == nil)
    #expect(try types.pointer("in", in: "outer") == nil)
    #expect(throws: FormatError.self) { try place("to-all", types) }
  }

  @Test func modulesStandOnTheKernel() throws {
    let kernel = example()
    let base = try kernel.data()
    var b = TypeDataBuilder(over: kernel)
    let inner = try #require(try base.structure("inner"))
    _ = b.structure("mine", laidOut([("x", inner, 12), ("a", b.pointer(to: inner), 8)]))
    let module = Types(try b.data(over: base))
    #expect(try module.place(of: "x.all", in: "mine") == Place(offsets: [4], width: 4))
    #expect(try module.place(of: "a->a", in: "mine") == Place(offsets: [16, 0], width: 4))
    #expect(try module.place(of: "to->a", in: "outer") == Place(offsets: [24, 0], width: 4))
  }

  /// A type that one module only declares is defined in another.
  @Test func declaredHereAndDefinedThere() throws {
    let kernel = example()
    let base = try kernel.data()
    var b = TypeDataBuilder(over: kernel)
    _ = b.structure("far", [.init(name: "x", type: 3, bit: 256)])
    let types = Types(base, others: [try b.data(over: base)])
    #expect(try place("elsewhere->x", types) == Place(offsets: [32, 32], width: 4))
  }

  @Test func anUnknownKindRefusesTheWhole() {
    var b = example()
    _ = b.kind(20)
    let bytes = b.bytes
    #expect(throws: FormatError.self) { try TypeData(bytes) }
  }

  @Test func noTruncationTraps() throws {
    let bytes = example().bytes
    for length in 0..<bytes.count {
      do throws(FormatError) {
        // With strings cut off, a type may be missed, but nothing else may happen.
        let types = Types(try TypeData(Array(bytes[..<length])))
        _ = try types.place(of: "to->all", in: "outer")
      } catch {}
    }
  }

  @Test func noFlippedByteTraps() throws {
    let bytes = example().bytes
    for i in bytes.indices {
      for flip: UInt8 in [0x01, 0x80, 0xff] {
        var changed = bytes
        changed[i] ^= flip
        do throws(FormatError) {
          let types = Types(try TypeData(changed))
          for path in ["to->all", "in.low", "list[0]", "elsewhere->x"] {
            _ = try types.place(of: path, in: "outer")
          }
        } catch {}
      }
    }
  }
}
