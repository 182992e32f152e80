/* umockdev: devices in a directory that libudev takes for sysfs. */
#include <umockdev.h>
