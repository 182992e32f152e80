/* libudev: monitor, enumeration, hwdb. */
#include <libudev.h>
