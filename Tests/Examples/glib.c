/* glib ADDRESS DEFAULT BUFFER: primed in a GLib main loop, as of Mutter. */
#define _GNU_SOURCE
#include <glib-unix.h>
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static GMainLoop *loop;

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
	(void)fd;
	(void)condition;
	primed_client_dispatch(data);
	return G_SOURCE_CONTINUE;
}

static void on_placed(const struct primed_placement *placement, void *data)
{
	printf("%s %llu %u %s\n", (const char *)data, (unsigned long long)placement->device, placement->access,
	       placement->is_default ? "default" : "primed");
	g_main_loop_quit(loop);
}

int main(int count, char **words)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct primed_query query = PRIMED_QUERY_INIT;
	g_autofree char *label = NULL;
	struct primed_client *primed;
	guint source;
	int fd;

	if (count != 4)
		return 2;
	loop = g_main_loop_new(NULL, FALSE);
	options.address = *words[1] ? words[1] : NULL;
	options.default_device = strtoull(words[2], NULL, 10);
	if (!(primed = primed_client_open(&options)))
		return 1;
	source = g_unix_fd_add(primed_client_get_fd(primed), G_IO_IN, on_readable, primed);
	label = g_strdup_printf("primed:%s", words[3]);
	fd = memfd_create(label, MFD_CLOEXEC);
	query.planes = &fd;
	query.n_planes = 1;
	if (primed_client_place(primed, &query, &now, on_placed, words[3]) == 0)
		g_main_loop_run(loop);
	else
		on_placed(&now, words[3]);
	g_source_remove(source);
	primed_client_close(primed);
	g_main_loop_unref(loop);
	return 0;
}
