/* What a device can do with a buffer, from answers to questions with `verdicts`. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>

int primed_placement_access(const struct primed_client *c, const struct primed_placement *placement,
			    dev_t device, uint32_t *access, uint32_t *can)
{
	const struct primed_verdicts *all = placement->verdicts;

	*access = PRIMED_ACCESS_UNKNOWN;
	*can = 0;
	if (placement->is_default || !all)
		return 0;
	if (!all->supported)
		return primed_fail(ENOTSUP);
	for (unsigned int i = 0; i < all->count; i++) {
		if (!primed_is_same_device(&c->devices, all->list[i].device, device))
			continue;
		*access = all->list[i].access;
		*can = all->list[i].can;
		return 1;
	}
	return primed_fail(ENODEV);
}

int primed_client_access(struct primed_client *c, const struct primed_query *query, dev_t device,
			 uint32_t *access, uint32_t *can)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct primed_query full;
	int r;

	*access = PRIMED_ACCESS_UNKNOWN;
	*can = 0;
	if (!primed_take_query(&full, query))
		return primed_fail(EINVAL);
	full.size = sizeof(full);
	full.verdicts = true;
	if ((r = primed_client_peek(c, &full, &now)) <= 0)
		return r;
	return primed_placement_access(c, &now, device, access, can);
}

struct wait {
	struct primed_client *client;
	dev_t device;
	struct primed_placement *now;
	uint32_t *access;
	bool ended;
	int known;
};

static void take(const struct primed_placement *placement, void *data)
{
	struct wait *wait = data;
	uint32_t can;

	wait->ended = true;
	wait->known = primed_placement_access(wait->client, placement, wait->device, wait->access,
					      &can) > 0;
	*wait->now = *placement;
	wait->now->verdicts = NULL;
}

/* Waits until the question's deadline at most. */
int primed_wait_for_access(struct primed_client *c, const struct primed_query *query, dev_t device,
			   struct primed_placement *now, uint32_t *access)
{
	struct wait wait = {.client = c, .device = device, .now = now, .access = access};
	struct pollfd readable = {.fd = c->epoll, .events = POLLIN};
	struct primed_placement at_once = PRIMED_PLACEMENT_INIT;
	int r = primed_client_place(c, query, &at_once, take, &wait);

	*access = PRIMED_ACCESS_UNKNOWN;
	if (r < 0)
		return -1;
	if (r > 0)
		take(&at_once, &wait);
	while (!wait.ended) {
		if (poll(&readable, 1, -1) < 0 && errno != EINTR)
			break;
		if (primed_client_dispatch(c) < 0 && errno != ECONNRESET)
			break;
	}
	if (!wait.ended)
		primed_client_cancel(c, &wait);
	return wait.known;
}
