#pragma once

/* How often this thread has allocated so far. */
unsigned long allocations_of_this_thread(void);
