/* What the bindings in dpdk_sys.rs are generated from: DPDK's public headers, constants that are macros there, and
 * functions for what is inline or thread-local in C. */
#ifndef VTEPD_SHIM_H
#define VTEPD_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_version.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* The mbuf is opaque in Rust: its fields are nested differently in each release. */
enum {
	VTEPD_MBUF_SIZE = sizeof(struct rte_mbuf),
	VTEPD_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	VTEPD_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	VTEPD_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	VTEPD_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	VTEPD_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	VTEPD_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	VTEPD_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	VTEPD_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	VTEPD_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	VTEPD_MBUF_NEXT = offsetof(struct rte_mbuf, next),
};

/* Macros that bindgen cannot evaluate. */
static const uint64_t VTEPD_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t VTEPD_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t VTEPD_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t VTEPD_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t VTEPD_RX_OUTER_IP_CKSUM_BAD = RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD;
static const uint64_t VTEPD_RX_OUTER_L4_CKSUM_BAD = RTE_MBUF_F_RX_OUTER_L4_CKSUM_BAD;
static const uint64_t VTEPD_RX_OUTER_L4_CKSUM_GOOD = RTE_MBUF_F_RX_OUTER_L4_CKSUM_GOOD;
static const uint64_t VTEPD_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t VTEPD_RX_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t VTEPD_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t VTEPD_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t VTEPD_RSS_FLOWS = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;
static const uint32_t VTEPD_PTYPE_TUNNEL_MASK = RTE_PTYPE_TUNNEL_MASK;
static const uint32_t VTEPD_LINK_SPEED_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;
static const bool VTEPD_TAP_MTU_IS_KNOWN =
	RTE_VERSION >= RTE_VERSION_NUM(22, 11, 0, 0) && RTE_VERSION < RTE_VERSION_NUM(23, 3, 0, 0);
static const uint16_t VTEPD_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;

/* A port's link. */
struct vtepd_link {
	uint32_t speed_mbps;
	bool up;
	bool full_duplex;
};

/* rte_errno is a thread-local macro. */
int vtepd_errno(void);

uint64_t vtepd_cycles(void);

/* True where the calling thread has an lcore id. */
bool vtepd_is_lcore(void);

uint16_t vtepd_receive(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count);
uint16_t vtepd_transmit(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count);

struct rte_mbuf *vtepd_mbuf_allocate(struct rte_mempool *pool);
int vtepd_mbuf_allocate_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int count);
void vtepd_mbuf_free(struct rte_mbuf *packet);
int vtepd_mbuf_linearise(struct rte_mbuf *packet);

int vtepd_link_get(uint16_t port, struct vtepd_link *link);

/* Where net_tap's first transmit queue of a started port looks up the MTU; null where that is not known. */
uint16_t *vtepd_tap_mtu(uint16_t port);

/* Writes the offsets above, as the C compiler sees them, in their order; returns how many there are. */
size_t vtepd_mbuf_layout(size_t *offsets, size_t room);

#endif
