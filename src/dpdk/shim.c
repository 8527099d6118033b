#include "shim.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

bool vtepd_tap_understates_mtu(const char *driver)
{
#if RTE_VERSION < RTE_VERSION_NUM(23, 0, 0, 0)
	return driver != NULL && strcmp(driver, "net_tap") == 0;
#else
	(void)driver;
	return false;
#endif
}

static int set_interface_mtu(unsigned int index, uint16_t mtu)
{
	struct ifreq request = { .ifr_mtu = mtu };
	int status = 0;
	int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (handle < 0)
		return -errno;
	if (if_indextoname(index, request.ifr_name) == NULL || ioctl(handle, SIOCSIFMTU, &request) != 0)
		status = -errno;
	close(handle);
	return status;
}

int vtepd_tap_raise_mtu(uint16_t port, uint16_t mtu)
{
	/* How `struct tx_queue` of DPDK 22.11's drivers/net/tap/rte_eth_tap.h begins: the driver compares each frame with
	 * the port's MTU through this pointer. */
	const struct {
		int type;
		uint16_t *mtu;
	} *queue;
	struct rte_eth_dev_info info;
	uint16_t before, after = 0;
	int status = rte_eth_dev_info_get(port, &info);

	if (status != 0)
		return status;
	if (!vtepd_tap_understates_mtu(info.driver_name) || rte_eth_fp_ops[port].txq.data == NULL)
		return -ENOTSUP;
	queue = rte_eth_fp_ops[port].txq.data[0];
	status = rte_eth_dev_get_mtu(port, &before);
	if (status != 0)
		return status;
	if (queue == NULL || queue->mtu == NULL || *queue->mtu != before)
		return -ENOTSUP;
	*queue->mtu = mtu;
	/* It is the port's own field only if DPDK now sees the new value there. */
	if (rte_eth_dev_get_mtu(port, &after) != 0 || after != mtu) {
		*queue->mtu = before;
		return -ENOTSUP;
	}
	return set_interface_mtu(info.if_index, mtu);
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
