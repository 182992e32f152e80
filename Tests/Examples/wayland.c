/* wayland ADDRESS DEFAULT BUFFER: primed in a compositor's wl_event_loop, and a surface's first commit that waits for the
 * answer. The buffer is a simulated one; on real hardware its fds come with zwp_linux_buffer_params_v1.create. */
#define _GNU_SOURCE
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wayland-server-core.h>

struct surface {
	struct wl_display *display;
	const char *name;
	int fd;
};

static int on_readable(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	/* A bus that is lost has been told to who waited, and comes again by itself. */
	primed_client_dispatch(data);
	return 0;
}

/* The commit that was held: import the buffer where primed says, and go on. */
static void apply_commit(struct surface *surface, const struct primed_placement *placement)
{
	printf("%s %llu %u %s\n", surface->name, (unsigned long long)placement->device, placement->access,
	       placement->is_default ? "default" : "primed");
	wl_display_terminate(surface->display);
}

static void on_placed(const struct primed_placement *placement, void *data)
{
	apply_commit(data, placement);
}

/* At wl_surface.commit with a buffer that is not imported yet. */
static void commit(struct primed_client *primed, struct surface *surface)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct primed_query query = PRIMED_QUERY_INIT;

	query.planes = &surface->fd;
	query.n_planes = 1;
	if (primed_client_place(primed, &query, &now, on_placed, surface) != 0)
		apply_commit(surface, &now);
}

int main(int count, char **words)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
	struct wl_display *display = wl_display_create();
	struct primed_client *primed;
	struct surface surface = {.display = display};
	struct wl_event_source *source;
	char label[64];

	if (count != 4)
		return 2;
	options.address = *words[1] ? words[1] : NULL;
	options.default_device = strtoull(words[2], NULL, 10);
	primed = primed_client_open(&options);
	if (!display || !primed)
		return 1;
	source = wl_event_loop_add_fd(wl_display_get_event_loop(display), primed_client_get_fd(primed), WL_EVENT_READABLE,
				      on_readable, primed);
	snprintf(label, sizeof(label), "primed:%s", words[3]);
	surface.name = words[3];
	surface.fd = memfd_create(label, MFD_CLOEXEC);
	commit(primed, &surface);
	wl_display_run(display);
	/* When a surface or its buffer goes. */
	primed_client_cancel(primed, &surface);
	wl_event_source_remove(source);
	primed_client_close(primed);
	wl_display_destroy(display);
	return 0;
}
