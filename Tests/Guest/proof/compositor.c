/*
 * compositor --order naive|primed --device NODE...
 *
 * Shows each window in a field of its own on the output of the first --device, and says on standard output what it
 * does, a line each:
 *
 *   ready SOCKET                      clients may come
 *   window TITLE X Y                  where its upper left corner is
 *   created                           a client has created a buffer
 *   answer NODE ACCESS WHOSE          primed's word about a buffer; NODE - if none; WHOSE primed or default
 *   import NODE ERRNO                 tried; 0: done
 *   commit TITLE HOW MICROSECONDS     the answer about its buffer is there; HOW `held` or `at-once`
 *   shown TITLE DEVICE                a commit took effect; DEVICE - if there is nothing to show
 *
 * --order naive: a buffer is imported in the request that creates it, on the first device that can, the primary
 * device first. --order primed: it is accepted, primed is asked, the surface's commit is held until the answer, and
 * the buffer is imported on the device that is named; where primed does not answer, as naive.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wlr/backend.h>
#include <wlr/backend/session.h>
#include <wlr/render/allocator.h>
#include <wlr/render/pixman.h>
#include <wlr/types/wlr_compositor.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_scene.h>
#include <wlr/types/wlr_seat.h>
#include <wlr/types/wlr_shm.h>
#include <wlr/types/wlr_subcompositor.h>
#include <wlr/types/wlr_xdg_shell.h>
#include <wlr/util/log.h>

#include "proof.h"

enum { FIELD = 160, COLUMNS = 6 };

static const char *const accesses[] = {"unknown", "native", "in-place", "may-move", "moves", "unreachable"};

static struct server {
	struct wl_display *display;
	struct devices devices;
	struct primed_client *primed; /* NULL: naive */
	struct wlr_renderer *renderer;
	struct wlr_allocator *allocator;
	struct wlr_scene *scene;
	struct wlr_scene_output *output;
	struct wl_list windows;
	unsigned int n_windows; /* that there ever were */
	struct wl_listener new_output, frame, new_toplevel;
} server;

struct window {
	struct wl_list link;
	struct wlr_xdg_toplevel *toplevel;
	struct wlr_scene_buffer *node;
	struct wl_list holds;
	bool placed;
	struct wl_listener client_commit, commit, destroy;
};

/* A commit that waits for an answer about its buffer. */
struct hold {
	struct wl_list link;
	struct window *window;
	struct dmabuf *buffer;
	uint32_t sequence;
	int64_t since;
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static const char *title(const struct window *window)
{
	return window->toplevel->title ? window->toplevel->title : "-";
}

/* --- imports --- */

static bool import_on(struct dmabuf *buffer, const struct device *device)
{
	int error = import_begin(&buffer->import, device, buffer->fd, &buffer->layout);

	printf("import %s %d\n", device->node, error);
	buffer->device = error ? NULL : device;
	return !error;
}

static bool import_on_any(struct dmabuf *buffer)
{
	for (unsigned int i = 0; i < server.devices.n; i++)
		if (import_on(buffer, &server.devices.all[i]))
			return true;
	return false;
}

static const struct device *device_of(dev_t number)
{
	for (unsigned int i = 0; i < server.devices.n; i++)
		if (server.devices.all[i].number == number)
			return &server.devices.all[i];
	return NULL;
}

static void follow(struct dmabuf *buffer, const struct primed_placement *placement)
{
	const struct device *device = device_of(placement->device);

	if (buffer->device)
		return;
	printf("answer %s %s %s\n", device ? device->node : "-",
	       accesses[placement->access < 6 ? placement->access : 0],
	       placement->is_default ? "default" : "primed");
	if (!placement->is_default && device && placement->access != PRIMED_ACCESS_UNREACHABLE &&
	    import_on(buffer, device))
		return;
	if (placement->is_default || placement->access == PRIMED_ACCESS_UNKNOWN)
		import_on_any(buffer);
}

/* --- the question --- */

static void on_early_answer(const struct primed_placement *placement, void *data)
{
	(void)placement;
	(void)data; /* the commit finds it in the cache */
}

static int ask(struct dmabuf *buffer, struct primed_placement *now, primed_placed placed, void *data)
{
	struct primed_query query = PRIMED_QUERY_INIT;
	dev_t candidates[MAX_DEVICES];

	for (unsigned int i = 0; i < server.devices.n; i++)
		candidates[i] = server.devices.all[i].number;
	query.planes = &buffer->fd;
	query.n_planes = 1;
	query.sampling_device = buffer->sampling_device;
	query.candidates = candidates;
	query.n_candidates = server.devices.n;
	query.format = buffer->layout.format;
	query.modifier = buffer->modifier;
	query.has_modifier = true;
	query.client = buffer->client;
	return primed_client_place(server.primed, &query, now, placed, data);
}

static bool on_created(struct dmabuf *buffer, void *data)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;

	(void)data;
	printf("created\n");
	if (!server.primed)
		return import_on_any(buffer);
	ask(buffer, &now, on_early_answer, buffer);
	return true;
}

static void on_destroyed(struct dmabuf *buffer, void *data)
{
	(void)data;
	if (server.primed)
		primed_client_cancel(server.primed, buffer);
}

/* --- commits --- */

static void end_hold(struct hold *hold)
{
	wl_list_remove(&hold->link);
	free(hold);
}

static void on_answer(const struct primed_placement *placement, void *data)
{
	struct hold *hold = data;
	struct wlr_surface *surface = hold->window->toplevel->base->surface;
	uint32_t sequence = hold->sequence;

	printf("commit %s held %lld\n", title(hold->window), (long long)(now_us() - hold->since));
	follow(hold->buffer, placement);
	end_hold(hold);
	wlr_surface_unlock_cached(surface, sequence); /* it is committed: on_commit */
}

/* The client's request, before it takes effect. */
static void on_client_commit(struct wl_listener *listener, void *data)
{
	struct window *window = wl_container_of(listener, window, client_commit);
	struct wlr_surface *surface = window->toplevel->base->surface;
	struct dmabuf *buffer = dmabuf_from_buffer(surface->pending.buffer);
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct hold *hold;

	(void)data;
	if (!server.primed || !buffer || !(surface->pending.committed & WLR_SURFACE_STATE_BUFFER))
		return;
	hold = calloc(1, sizeof(*hold));
	if (!hold)
		abort();
	*hold = (struct hold){.window = window, .buffer = buffer, .since = now_us()};
	wl_list_insert(&window->holds, &hold->link);
	if (ask(buffer, &now, on_answer, hold) == 0) {
		hold->sequence = wlr_surface_lock_pending(surface);
		return;
	}
	printf("commit %s at-once %lld\n", title(window), (long long)(now_us() - hold->since));
	follow(buffer, &now);
	end_hold(hold);
}

static void show(struct window *window, struct wlr_buffer *base)
{
	struct dmabuf *buffer = dmabuf_from_buffer(base);
	bool good = base && (!buffer || !import_read(&buffer->import));

	wlr_scene_buffer_set_buffer(window->node, good ? base : NULL);
	printf("shown %s %s\n", title(window), good && buffer ? buffer->device->node : "-");
}

/* The commit takes effect. */
static void on_commit(struct wl_listener *listener, void *data)
{
	struct window *window = wl_container_of(listener, window, commit);
	struct wlr_surface *surface = window->toplevel->base->surface;
	int x, y;

	(void)data;
	if (window->toplevel->base->initial_commit) {
		wlr_xdg_toplevel_set_size(window->toplevel, 0, 0);
		return;
	}
	if (!window->placed) {
		window->placed = true;
		wlr_scene_node_coords(&window->node->node, &x, &y);
		printf("window %s %d %d\n", title(window), x, y);
	}
	if (surface->current.committed & WLR_SURFACE_STATE_BUFFER)
		show(window, surface->current.buffer);
	/* For who waits for a frame: what is shown need not have changed. */
	wlr_output_schedule_frame(server.output->output);
}

/* --- windows --- */

static void on_window_destroyed(struct wl_listener *listener, void *data)
{
	struct window *window = wl_container_of(listener, window, destroy);
	struct hold *hold, *next;

	(void)data;
	wl_list_for_each_safe(hold, next, &window->holds, link) {
		primed_client_cancel(server.primed, hold);
		end_hold(hold);
	}
	wl_list_remove(&window->client_commit.link);
	wl_list_remove(&window->commit.link);
	wl_list_remove(&window->destroy.link);
	wl_list_remove(&window->link);
	wlr_scene_node_destroy(&window->node->node);
	free(window);
}

static void listen_to(struct wl_signal *signal, struct wl_listener *listener, wl_notify_func_t notify)
{
	listener->notify = notify;
	wl_signal_add(signal, listener);
}

static void on_new_toplevel(struct wl_listener *listener, void *data)
{
	struct window *window = calloc(1, sizeof(*window));
	struct wlr_xdg_toplevel *toplevel = data;
	struct wlr_surface *surface = toplevel->base->surface;
	unsigned int place = server.n_windows++;

	(void)listener;
	if (!window)
		abort();
	window->toplevel = toplevel;
	window->node = wlr_scene_buffer_create(&server.scene->tree, NULL);
	wlr_scene_node_set_position(&window->node->node, (int)(place % COLUMNS) * FIELD,
				    (int)(place / COLUMNS % 4) * FIELD);
	wl_list_init(&window->holds);
	wl_list_insert(&server.windows, &window->link);
	listen_to(&surface->events.client_commit, &window->client_commit, on_client_commit);
	listen_to(&surface->events.commit, &window->commit, on_commit);
	listen_to(&toplevel->events.destroy, &window->destroy, on_window_destroyed);
}

/* --- the output --- */

static void on_frame(struct wl_listener *listener, void *data)
{
	struct timespec now;
	struct window *window;

	(void)listener;
	(void)data;
	wlr_scene_output_commit(server.output, NULL);
	clock_gettime(CLOCK_MONOTONIC, &now);
	wl_list_for_each(window, &server.windows, link)
		wlr_surface_send_frame_done(window->toplevel->base->surface, &now);
}

static void on_new_output(struct wl_listener *listener, void *data)
{
	struct wlr_output *output = data;
	struct wlr_output_state state;

	(void)listener;
	if (server.output)
		return;
	wlr_output_init_render(output, server.allocator, server.renderer);
	wlr_output_state_init(&state);
	wlr_output_state_set_enabled(&state, true);
	wlr_output_state_set_mode(&state, wlr_output_preferred_mode(output));
	if (!wlr_output_commit_state(output, &state))
		exit(1);
	wlr_output_state_finish(&state);
	server.output = wlr_scene_output_create(server.scene, output);
	wlr_scene_rect_create(&server.scene->tree, output->width, output->height, (float[]){0.2f, 0.2f, 0.2f, 1});
	listen_to(&output->events.frame, &server.frame, on_frame);
	wlr_output_schedule_frame(output);
}

/* --- start --- */

static int on_primed(int fd, uint32_t mask, void *data)
{
	(void)fd;
	(void)mask;
	primed_client_dispatch(data);
	return 0;
}

static void log_primed(int priority, const char *text, void *data)
{
	(void)priority;
	(void)data;
	fprintf(stderr, "primed: %s\n", text);
}

static void open_primed(void)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;

	options.default_device = server.devices.all[0].number;
	options.on_log = log_primed;
	server.primed = primed_client_open(&options);
	if (!server.primed)
		exit(1);
	wl_event_loop_add_fd(wl_display_get_event_loop(server.display), primed_client_get_fd(server.primed),
			     WL_EVENT_READABLE, on_primed, server.primed);
}

/* Whether it is the primed order. */
static bool read_options(int count, char **words)
{
	static const struct option options[] = {
		{"order", required_argument, NULL, 'o'}, {"device", required_argument, NULL, 'd'}, {0}};
	bool primed = false;
	struct stat status;
	int option;

	while ((option = getopt_long(count, words, "", options, NULL)) != -1) {
		if (option == 'o') {
			primed = !strcmp(optarg, "primed");
		} else if (option == 'd' && server.devices.n < MAX_DEVICES && !stat(optarg, &status)) {
			server.devices.all[server.devices.n++] = (struct device){optarg, status.st_rdev};
		} else {
			exit(2);
		}
	}
	if (!server.devices.n)
		exit(2);
	return primed;
}

int main(int count, char **words)
{
	bool primed = read_options(count, words);
	struct wlr_backend *backend;
	struct wlr_xdg_shell *shell;
	const char *socket;

	setvbuf(stdout, NULL, _IOLBF, 0);
	wlr_log_init(WLR_ERROR, NULL);
	wl_list_init(&server.windows);
	server.display = wl_display_create();
	if (primed)
		open_primed();
	backend = wlr_backend_autocreate(wl_display_get_event_loop(server.display), NULL);
	server.renderer = wlr_pixman_renderer_create();
	server.allocator = backend ? wlr_allocator_autocreate(backend, server.renderer) : NULL;
	if (!server.allocator)
		return 1;
	/* Without a renderer: it would import at each commit by itself. */
	wlr_compositor_create(server.display, 6, NULL);
	wlr_subcompositor_create(server.display);
	wlr_shm_create_with_renderer(server.display, 1, server.renderer);
	wlr_seat_create(server.display, "seat0");
	server.scene = wlr_scene_create();
	dmabuf_global(server.display, &server.devices, on_created, on_destroyed, NULL);
	shell = wlr_xdg_shell_create(server.display, 3);
	listen_to(&shell->events.new_toplevel, &server.new_toplevel, on_new_toplevel);
	listen_to(&backend->events.new_output, &server.new_output, on_new_output);
	socket = wl_display_add_socket_auto(server.display);
	if (!socket || !wlr_backend_start(backend))
		return 1;
	printf("ready %s\n", socket);
	wl_display_run(server.display);
	return 0;
}
