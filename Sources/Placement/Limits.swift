// Every bound on what callers may send, have under way, have kept and make primed do, and every pause
// of primed's, in one place; those of the closers of callers' fds are in CClose.h. What a type has
// room for (4 planes, 64 devices, 8 users of an Advise) is the contract's and stands with the type;
// how long a call into a driver may take is in Ports.swift, when a buffer is looked at again in
// BufferFacts.swift (Recheck).

/// What is held for somebody.
package struct Load: Equatable, Sendable {
  package var questions: Int
  package var fds: Int
  package var subscriptions: Int

  package init(questions: Int = 0, fds: Int = 0, subscriptions: Int = 0) {
    (self.questions, self.fds, self.subscriptions) = (questions, fds, subscriptions)
  }
  package static func + (a: Load, b: Load) -> Load {
    Load(
      questions: a.questions + b.questions, fds: a.fds + b.fds,
      subscriptions: a.subscriptions + b.subscriptions)
  }
  package static func - (a: Load, b: Load) -> Load {
    Load(
      questions: a.questions - b.questions, fds: a.fds - b.fds,
      subscriptions: a.subscriptions - b.subscriptions)
  }
  package func fits(in limit: Load) -> Bool {
    questions <= limit.questions && fds <= limit.fds && subscriptions <= limit.subscriptions
  }
}

package enum Limits {
  // MARK: One message

  /// Items of a PlaceMany: dbus-broker takes so many fds in a message.
  package static let itemsPerCall = 64
  /// Keys of hints in a question, fds of a buffer, words of `usage`.
  package static let listElements = 64
  /// Elements of an unknown hint's value, all in all.
  package static let valueElements = 1024
  /// Bytes of the reason for a release, which goes to the log.
  package static let reasonBytes = 1024

  // MARK: Questions, fds and watched buffers under way

  /// Until the bus has said whose the connection is.
  package static let perUnknown = Load(questions: 64, fds: 128, subscriptions: 64)
  package static let perConnection = Load(questions: 256, fds: 512, subscriptions: 1024)
  package static let perUser = Load(questions: 512, fds: 1024, subscriptions: 4096)
  package static let watchesInAll = 16_384
  /// Twice what one user can have on the 256 connections that a bus gives it, while the bus has not
  /// told yet whose they are.
  package static let questionsInAll = 2 * 256 * perUnknown.questions
  /// Fds that the kernel passes in one message, at most (SCM_MAX_FD).
  package static let fdsOfAMessage = 253
  /// Fds kept free for the bus's next message, probes, nodes and guards: at RLIMIT_NOFILE sd-bus
  /// would leave the bus.
  package static let reservedFDs = 384
  /// Fds of one user whose closes are stuck, or wait for such a one, before its questions are
  /// refused.
  package static let stuckFDsPerUser = 64
  /// Calls of a user that wait for polkit, which may wait for the user.
  package static let polkitQuestionsPerUser = 4

  // MARK: Connections

  /// Each takes a match, of which dbus-daemon lets a connection have 512. Beyond that the user who
  /// has most of them gives one up.
  package static let connectionsInAll = 448
  package static let connectionsPerUser = 128
  /// Messages to the bus that it has not taken yet: what is sent beyond is lost, rather than kept
  /// for a bus or a reader that is stuck.
  package static let unsentMessages: UInt64 = 8192
  /// How long the bus's own reply is waited for before the bus is asked again: at first, and at most.
  package static let firstBusReply: Milliseconds = 100
  package static let longestBusReply: Milliseconds = 12_800

  // MARK: Work

  /// Looks that a user may force with the hint `fresh`.
  package static let freshLooksPerSecond = 64
  /// A look at a buffer that is younger answers what any user but root asks afresh.
  package static let freshLookAge: Milliseconds = 100
  /// Messages that are read, if there are so many, before the next buffer is looked at.
  package static let messagesBeforeALook = 32
  /// Devices that wake and fall asleep are told of once in this time, to everybody.
  package static let timeBetweenPowerNews: Milliseconds = 1_000
  /// Bytes: no frame takes as many (8K in half floats: 253 MiB), and importing it keeps a device
  /// busy for long.
  package static let largestImport: UInt64 = 512 << 20

  /// Rounds of questions to devices in one look. Each round asks a device that was not asked before,
  /// so the rounds end; the bound is for machines on which devices keep appearing.
  package static let roundsOfALook = 8

  // MARK: Devices

  /// A node is closed after so long without a job: before a GPU suspends itself (5 s with amdgpu and
  /// nouveau), since closing a sleeping GPU's node wakes it.
  package static let idleNode: Milliseconds = 1_500
  /// The same for a card node. Opening one makes primed DRM master until it drops that, if there is
  /// no master, so one open serves all questions of some seconds.
  package static let idleCardNode: Milliseconds = 5_000
  /// When a device that did not answer is asked again: the first pause, which doubles each time, and
  /// the longest.
  package static let firstRetry: Milliseconds = 1_000
  package static let longestRetry: Milliseconds = 64_000
  /// Between two requests to introspection's loader: drivers may appear and go at any rate.
  package static let timeBetweenLoads: Milliseconds = 2_000

  // MARK: Log

  /// Refused calls become a line for each caller, and so many lines in all, in this time.
  package static let refusalWindow: Milliseconds = 60_000
  package static let refusalLines = 5
  /// Lines about one file of pair rows; the rest is counted.
  package static let pairFileLines = 20

  // MARK: Memory

  package static let cachedBuffers = 16_384
  package static let siblingGroups = 1_024
}
