// primed: the daemon.

import Broker
import Glibc
import Linux

exit(start(Array(CommandLine.arguments.dropFirst())))
