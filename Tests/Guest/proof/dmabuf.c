/*
 * A linux-dmabuf global of version 6. wlroots' own (0.18, 0.19) is of version 4 and imports in the request that
 * creates the buffer; here create and create_immed only look at what can be seen without an import.
 */
#define _GNU_SOURCE
#include <drm_fourcc.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linux-dmabuf-v1-protocol.h"
#include "proof.h"

struct params {
	struct wl_resource *resource;
	int fd; /* -1: none yet, or used */
	uint32_t offset, stride;
	uint64_t modifier;
	dev_t sampling_device;
	bool used;
};

static struct {
	const struct devices *devices;
	dmabuf_created created;
	void (*destroyed)(struct dmabuf *buffer, void *data);
	void *data;
} global;

/* What an entry of the format table is. */
static const struct format {
	uint32_t format, padding;
	uint64_t modifier;
} formats[] = {
	{DRM_FORMAT_XRGB8888, 0, DRM_FORMAT_MOD_LINEAR},
	{DRM_FORMAT_ARGB8888, 0, DRM_FORMAT_MOD_LINEAR},
	{DRM_FORMAT_XRGB8888, 0, DRM_FORMAT_MOD_INVALID},
	{DRM_FORMAT_ARGB8888, 0, DRM_FORMAT_MOD_INVALID},
};
#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

static void destroy_resource(struct wl_client *client, struct wl_resource *resource)
{
	(void)client;
	wl_resource_destroy(resource);
}

/* --- wl_buffer --- */

static const struct wl_buffer_interface buffer_requests = {.destroy = destroy_resource};

static void buffer_free(struct wlr_buffer *base)
{
	struct dmabuf *buffer = wl_container_of(base, buffer, base);

	wl_list_remove(&buffer->release.link);
	import_end(&buffer->import);
	if (buffer->import.pixels)
		munmap(buffer->import.pixels, buffer->import.length);
	close(buffer->fd);
	free(buffer);
}

static bool buffer_begin_access(struct wlr_buffer *base, uint32_t flags, void **data, uint32_t *format,
				size_t *stride)
{
	struct dmabuf *buffer = wl_container_of(base, buffer, base);

	if ((flags & WLR_BUFFER_DATA_PTR_ACCESS_WRITE) || !buffer->import.pixels)
		return false;
	*data = buffer->import.pixels;
	*format = buffer->layout.format;
	*stride = 4 * (size_t)buffer->layout.width;
	return true;
}

static void buffer_end_access(struct wlr_buffer *base)
{
	(void)base;
}

static const struct wlr_buffer_impl buffer_impl = {
	.destroy = buffer_free,
	.begin_data_ptr_access = buffer_begin_access,
	.end_data_ptr_access = buffer_end_access,
};

struct dmabuf *dmabuf_from_buffer(struct wlr_buffer *base)
{
	struct dmabuf *buffer;

	return base && base->impl == &buffer_impl ? wl_container_of(base, buffer, base) : NULL;
}

static bool is_dmabuf(struct wl_resource *resource)
{
	return wl_resource_instance_of(resource, &wl_buffer_interface, &buffer_requests);
}

static struct wlr_buffer *from_resource(struct wl_resource *resource)
{
	struct dmabuf *buffer = wl_resource_get_user_data(resource);

	return &buffer->base;
}

static const struct wlr_buffer_resource_interface resource_interface = {
	.name = "dmabuf", .is_instance = is_dmabuf, .from_resource = from_resource};

static void on_release(struct wl_listener *listener, void *data)
{
	struct dmabuf *buffer = wl_container_of(listener, buffer, release);

	(void)data;
	if (buffer->resource)
		wl_buffer_send_release(buffer->resource);
}

static void on_buffer_destroyed(struct wl_resource *resource)
{
	struct dmabuf *buffer = wl_resource_get_user_data(resource);

	buffer->resource = NULL;
	global.destroyed(buffer, global.data);
	wlr_buffer_drop(&buffer->base);
}

/* --- zwp_linux_buffer_params_v1 --- */

static void params_add(struct wl_client *client, struct wl_resource *resource, int32_t fd, uint32_t plane,
		       uint32_t offset, uint32_t stride, uint32_t modifier_hi, uint32_t modifier_lo)
{
	struct params *params = wl_resource_get_user_data(resource);

	(void)client;
	if (plane != 0 || params->fd >= 0 || params->used) {
		close(fd);
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_PLANE_IDX, "one plane only");
		return;
	}
	params->fd = fd;
	params->offset = offset;
	params->stride = stride;
	params->modifier = (uint64_t)modifier_hi << 32 | modifier_lo;
}

/* NULL: a protocol error is told. */
static struct dmabuf *validated(struct wl_client *client, struct params *params, int32_t width, int32_t height,
				uint32_t format)
{
	struct wl_resource *resource = params->resource;
	struct dmabuf *buffer;

	if (params->used)
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_ALREADY_USED, "used");
	else if (params->fd < 0)
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INCOMPLETE, "no plane");
	else if (format != DRM_FORMAT_XRGB8888 && format != DRM_FORMAT_ARGB8888)
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT, "its format");
	else if (width < 1 || height < 1 || width > 8192 || height > 8192 ||
		 params->stride < (uint32_t)width * 4)
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_DIMENSIONS, "its size");
	else if (lseek(params->fd, 0, SEEK_END) < (off_t)params->offset + (off_t)params->stride * height)
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_OUT_OF_BOUNDS, "too short");
	else if ((buffer = calloc(1, sizeof(*buffer)))) {
		wlr_buffer_init(&buffer->base, &buffer_impl, width, height);
		buffer->layout = (struct layout){width, height, format, params->offset, params->stride};
		buffer->fd = params->fd;
		buffer->modifier = params->modifier;
		buffer->sampling_device = params->sampling_device;
		wl_client_get_credentials(client, &buffer->client, NULL, NULL);
		buffer->release.notify = on_release;
		wl_signal_add(&buffer->base.events.release, &buffer->release);
		params->fd = -1;
		params->used = true;
		return buffer;
	}
	return NULL;
}

/* `id`: of the wl_buffer; 0: the server's own, for `created`. */
static void create(struct wl_client *client, struct params *params, uint32_t id, int32_t width, int32_t height,
		   uint32_t format)
{
	struct dmabuf *buffer = validated(client, params, width, height, format);
	bool good;

	if (!buffer)
		return;
	good = global.created(buffer, global.data);
	if (!good)
		zwp_linux_buffer_params_v1_send_failed(params->resource);
	if (!good && !id) {
		wlr_buffer_drop(&buffer->base);
		return;
	}
	buffer->resource = wl_resource_create(client, &wl_buffer_interface, 1, id);
	wl_resource_set_implementation(buffer->resource, &buffer_requests, buffer, on_buffer_destroyed);
	if (!id)
		zwp_linux_buffer_params_v1_send_created(params->resource, buffer->resource);
}

static void params_create(struct wl_client *client, struct wl_resource *resource, int32_t width, int32_t height,
			  uint32_t format, uint32_t flags)
{
	(void)flags;
	create(client, wl_resource_get_user_data(resource), 0, width, height, format);
}

static void params_create_immed(struct wl_client *client, struct wl_resource *resource, uint32_t id, int32_t width,
				int32_t height, uint32_t format, uint32_t flags)
{
	(void)flags;
	create(client, wl_resource_get_user_data(resource), id, width, height, format);
}

static void params_set_sampling_device(struct wl_client *client, struct wl_resource *resource,
				       struct wl_array *device)
{
	struct params *params = wl_resource_get_user_data(resource);

	(void)client;
	if (device->size != sizeof(params->sampling_device))
		wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_DEV_T_SIZE, "no dev_t");
	else
		memcpy(&params->sampling_device, device->data, device->size);
}

static const struct zwp_linux_buffer_params_v1_interface params_requests = {
	.destroy = destroy_resource,
	.add = params_add,
	.create = params_create,
	.create_immed = params_create_immed,
	.set_sampling_device = params_set_sampling_device,
};

static void on_params_destroyed(struct wl_resource *resource)
{
	struct params *params = wl_resource_get_user_data(resource);

	if (params->fd >= 0)
		close(params->fd);
	free(params);
}

static void create_params(struct wl_client *client, struct wl_resource *resource, uint32_t id)
{
	struct params *params = calloc(1, sizeof(*params));

	if (!params)
		abort();
	params->fd = -1;
	params->resource = wl_resource_create(client, &zwp_linux_buffer_params_v1_interface,
					      wl_resource_get_version(resource), id);
	wl_resource_set_implementation(params->resource, &params_requests, params, on_params_destroyed);
}

/* --- feedback --- */

static const struct zwp_linux_dmabuf_feedback_v1_interface feedback_requests = {.destroy = destroy_resource};

static void send_tranche(struct wl_resource *feedback, const struct device *device, uint32_t flags)
{
	struct wl_array number = {sizeof(dev_t), sizeof(dev_t), (void *)&device->number};
	uint16_t every[N_FORMATS];
	struct wl_array indices = {sizeof(every), sizeof(every), every};

	for (uint16_t i = 0; i < N_FORMATS; i++)
		every[i] = i;
	zwp_linux_dmabuf_feedback_v1_send_tranche_target_device(feedback, &number);
	zwp_linux_dmabuf_feedback_v1_send_tranche_flags(feedback, flags);
	zwp_linux_dmabuf_feedback_v1_send_tranche_formats(feedback, &indices);
	zwp_linux_dmabuf_feedback_v1_send_tranche_done(feedback);
}

static void get_feedback(struct wl_client *client, struct wl_resource *resource, uint32_t id)
{
	int version = wl_resource_get_version(resource);
	struct wl_resource *feedback =
		wl_resource_create(client, &zwp_linux_dmabuf_feedback_v1_interface, version, id);
	const struct device *primary = &global.devices->all[0];
	struct wl_array number = {sizeof(dev_t), sizeof(dev_t), (void *)&primary->number};
	int table = memfd_create("formats", MFD_CLOEXEC);

	wl_resource_set_implementation(feedback, &feedback_requests, NULL, NULL);
	if (write(table, formats, sizeof(formats)) != sizeof(formats))
		abort();
	zwp_linux_dmabuf_feedback_v1_send_format_table(feedback, table, sizeof(formats));
	close(table);
	if (version < 6) {
		zwp_linux_dmabuf_feedback_v1_send_main_device(feedback, &number);
		send_tranche(feedback, primary, 0);
	} else {
		for (unsigned int i = 0; i < global.devices->n; i++)
			send_tranche(feedback, &global.devices->all[i],
				     ZWP_LINUX_DMABUF_FEEDBACK_V1_TRANCHE_FLAGS_SAMPLING);
	}
	zwp_linux_dmabuf_feedback_v1_send_done(feedback);
}

static void get_surface_feedback(struct wl_client *client, struct wl_resource *resource, uint32_t id,
				 struct wl_resource *surface)
{
	(void)surface;
	get_feedback(client, resource, id);
}

/* --- the global --- */

static const struct zwp_linux_dmabuf_v1_interface requests = {
	.destroy = destroy_resource,
	.create_params = create_params,
	.get_default_feedback = get_feedback,
	.get_surface_feedback = get_surface_feedback,
};

static void bind(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
	struct wl_resource *resource = wl_resource_create(client, &zwp_linux_dmabuf_v1_interface, version, id);

	wl_resource_set_implementation(resource, &requests, data, NULL);
	if (version >= 4)
		return;
	for (unsigned int i = 0; i < N_FORMATS; i++) {
		if (version == 3)
			zwp_linux_dmabuf_v1_send_modifier(resource, formats[i].format, formats[i].modifier >> 32,
							  formats[i].modifier & 0xffffffff);
	}
}

void dmabuf_global(struct wl_display *display, const struct devices *devices, dmabuf_created created,
		   void (*destroyed)(struct dmabuf *buffer, void *data), void *data)
{
	global.devices = devices;
	global.created = created;
	global.destroyed = destroyed;
	global.data = data;
	wlr_buffer_register_resource_interface(&resource_interface);
	if (!wl_global_create(display, &zwp_linux_dmabuf_v1_interface, 6, NULL, bind))
		abort();
}
