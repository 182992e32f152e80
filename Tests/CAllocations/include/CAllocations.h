#pragma once

/* How often this thread has allocated so far. */
unsigned long allocations_of_this_thread(void);

/* Bytes that it allocated and has not freed, less those of others that it freed. */
long bytes_held_by_this_thread(void);
