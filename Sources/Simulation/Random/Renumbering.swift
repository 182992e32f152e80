// The same machine with its devices probed in another order and with other minor numbers.

internal import Placement

extension Scenario {
  /// - Parameters:
  ///   - order: indices of the devices in the new order.
  ///   - minors: of each device, by its old index.
  package func renumbered(order: [Int], minors: [Int]) -> Scenario {
    var new = self
    var place = order
    for (index, old) in order.enumerated() { place[old] = index }
    new.devices = order.map { old in
      var device = devices[old]
      let minor = UInt32(minors[old])
      if device.card != nil { device.card = minor }
      if device.render != nil { device.render = 128 + minor }
      device.display = device.display.map { place[$0] }
      return device
    }
    new.reaches = reaches.map {
      Reach(importer: place[$0.importer], exporter: $0.exporter.map { place[$0] }, how: $0.how)
    }
    for index in new.buffers.indices {
      new.buffers[index].exporter = buffers[index].exporter.map { place[$0] }
    }
    let numbers = Dictionary(
      uniqueKeysWithValues: devices.indices.map {
        (devices[$0].number, new.devices[place[$0]].number)
      })
    new.steps = steps.map { $0.renumbered(place, numbers) }
    return new
  }
}

extension Step {
  fileprivate func renumbered(_ place: [Int], _ numbers: [DeviceNumber: DeviceNumber]) -> Step {
    switch action {
    case .place(var question):
      question.hints.renumber(numbers)
      return Step(.place(question), expect: expect)
    case .device(let event, let device): return Step(.device(event, place[device]), expect: expect)
    case .release(let device): return Step(.release(place[device]), expect: expect)
    case .unrelease(let device): return Step(.unrelease(place[device]), expect: expect)
    default: return self
    }
  }
}

extension Hints {
  fileprivate mutating func renumber(_ numbers: [DeviceNumber: DeviceNumber]) {
    samplingDevice = numbers[samplingDevice] ?? samplingDevice
    targetDevice = numbers[targetDevice] ?? targetDevice
    primaryDevice = numbers[primaryDevice] ?? primaryDevice
    if let list = candidates {
      candidates = DeviceList((0..<list.count).map { numbers[list[$0]] ?? list[$0] })
    }
  }
}
