#include "shim.h"

int vtepd_errno(void)
{
	return rte_errno;
}

uint64_t vtepd_cycles(void)
{
	return rte_rdtsc();
}

bool vtepd_is_lcore(void)
{
	return rte_lcore_id() != LCORE_ID_ANY;
}

uint16_t vtepd_receive(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, packets, count);
}

uint16_t vtepd_transmit(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, packets, count);
}

/*
 * A thread's cache in a pool begins on a line of its own, and of its room for buffers the last 256 places, which begin
 * behind the most that it may hold (512 and half as many again, mempool.rs), are never written. So no thread writes a
 * line of another's cache, nor the neighbour of one.
 */
_Static_assert(sizeof(struct rte_mempool_cache) % RTE_CACHE_LINE_SIZE == 0, "caches begin on a line");
_Static_assert(sizeof(((struct rte_mempool_cache *)0)->objs) / sizeof(void *) >= 768 + 256, "caches have unused ends");

struct rte_mbuf *vtepd_mbuf_allocate(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int vtepd_mbuf_allocate_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, packets, count);
}

void vtepd_mbuf_free(struct rte_mbuf *packet)
{
	rte_pktmbuf_free(packet);
}

int vtepd_mbuf_linearise(struct rte_mbuf *packet)
{
	return rte_pktmbuf_linearize(packet);
}

int vtepd_link_get(uint16_t port, struct vtepd_link *link)
{
	struct rte_eth_link found = { 0 };
	int status = rte_eth_link_get_nowait(port, &found);

	link->speed_mbps = found.link_speed;
	link->up = found.link_status != 0;
	link->full_duplex = found.link_duplex != 0;
	return status;
}

size_t vtepd_mbuf_layout(size_t *offsets, size_t room)
{
	const size_t layout[] = {
		sizeof(struct rte_mbuf),
		offsetof(struct rte_mbuf, buf_addr),
		offsetof(struct rte_mbuf, data_off),
		offsetof(struct rte_mbuf, refcnt),
		offsetof(struct rte_mbuf, nb_segs),
		offsetof(struct rte_mbuf, ol_flags),
		offsetof(struct rte_mbuf, packet_type),
		offsetof(struct rte_mbuf, pkt_len),
		offsetof(struct rte_mbuf, data_len),
		offsetof(struct rte_mbuf, buf_len),
		offsetof(struct rte_mbuf, next),
	};
	const size_t count = sizeof(layout) / sizeof(layout[0]);

	for (size_t field = 0; field < count && field < room; field++)
		offsets[field] = layout[field];
	return count;
}

uint16_t *vtepd_tap_mtu(uint16_t port)
{
#if RTE_VERSION >= RTE_VERSION_NUM(22, 11, 0, 0) && RTE_VERSION < RTE_VERSION_NUM(23, 3, 0, 0)
	/* How the driver's transmit queue begins in this release. */
	struct tap_transmit_queue {
		int type;
		uint16_t *mtu;
	} *queue;

	if (port >= RTE_MAX_ETHPORTS || rte_eth_fp_ops[port].txq.data == NULL)
		return NULL;
	queue = rte_eth_fp_ops[port].txq.data[0];
	return queue == NULL ? NULL : queue->mtu;
#else
	(void)port;
	return NULL;
#endif
}
