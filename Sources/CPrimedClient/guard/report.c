/* --log: a line an import, and a table of them when the program ends. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guard.h"

#define ROWS 64

static struct row {
	struct import import;
	unsigned int count;
} rows[ROWS];
static unsigned int n_rows, n_imports;

static const char *name_of(dev_t device, char name[32])
{
	unsigned int number = minor(device);

	if (!device)
		return "unknown";
	snprintf(name, 32,
		 number < 64			 ? "card%u"
		 : number >= 128 && number < 192 ? "renderD%u"
						 : "226:%u",
		 number);
	return name;
}

static const char *access_of(const struct import *import)
{
	static const char *const names[] = {"unknown",	"native", "in-place",
					    "may-move", "moves",  "unreachable"};

	if (!import->known)
		return "no answer";
	return import->access < sizeof(names) / sizeof(*names) ? names[import->access] : "unknown";
}

static const char *done_of(const struct import *import)
{
	static const char *const names[] = {"let through", "refused", "by the flag"};

	return names[import->done];
}

/* What becomes of its bytes. */
static const char *fate_of(const struct import *import)
{
	bool is_in_place = import->access == PRIMED_ACCESS_NATIVE ||
			   import->access == PRIMED_ACCESS_IN_PLACE;

	if (import->done != DONE_LET_THROUGH || is_in_place)
		return "stay";
	return import->access == PRIMED_ACCESS_MOVES ? "move" : "may move";
}

static void count(const struct import *import)
{
	struct row *row = rows;

	n_imports++;
	while (row < rows + n_rows &&
	       (row->import.device != import->device || row->import.exporter != import->exporter ||
		row->import.access != import->access || row->import.known != import->known ||
		row->import.done != import->done))
		row++;
	if (row == rows + ROWS)
		return;
	if (row == rows + n_rows) {
		n_rows++;
		*row = (struct row){.import = *import};
		row->import.bytes = 0;
	}
	row->count++;
	row->import.bytes += import->bytes;
}

void guard_report(const struct import *import)
{
	char device[32], exporter[32];

	if (!guard_has("PRIMED_GUARD_LOG"))
		return;
	count(import);
	dprintf(STDERR_FILENO,
		"primed-guard: %s imports a buffer of %s: %s, %s, %" PRIu64 " bytes %s\n",
		name_of(import->device, device), name_of(import->exporter, exporter),
		access_of(import), done_of(import), import->bytes, fate_of(import));
}

/* A child process begins with empty reports. */
void guard_forget_reports(void)
{
	n_rows = n_imports = 0;
}

static void print_row(const struct row *row)
{
	const char *fate = fate_of(&row->import);
	char device[32], exporter[32], stayed[32] = "?";

	if (strcmp(fate, "may move") != 0)
		snprintf(stayed, sizeof(stayed), "%" PRIu64,
			 strcmp(fate, "stay") == 0 ? row->import.bytes : 0);
	dprintf(STDERR_FILENO, "%-12s %-12s %-12s %-12s %8u %14" PRIu64 " %14s\n",
		name_of(row->import.device, device), name_of(row->import.exporter, exporter),
		access_of(&row->import), done_of(&row->import), row->count, row->import.bytes,
		stayed);
}

__attribute__((destructor)) static void print_table(void)
{
	if (!n_imports || guard_is_filtered())
		return;
	dprintf(STDERR_FILENO,
		"primed-guard: %u import%s\n%-12s %-12s %-12s %-12s %8s %14s %14s\n", n_imports,
		n_imports == 1 ? "" : "s", "DEVICE", "EXPORTER", "ACCESS", "DONE", "COUNT", "BYTES", "STAYED");
	for (const struct row *row = rows; row < rows + n_rows; row++)
		print_row(row);
}
