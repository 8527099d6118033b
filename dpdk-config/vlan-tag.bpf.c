// Makes an interface a member of one VLAN where the kernel has no 802.1Q: what the host sends gets the tag, unless
// it has one; what it receives with the tag loses it, and all else it receives is dropped. Built and loaded by `vlan-interface`.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#define VLAN_ID_MASK 0x0fff

static long (*vlan_push)(struct __sk_buff *packet, __be16 protocol, __u16 tci) = (void *)BPF_FUNC_skb_vlan_push;
static long (*vlan_pop)(struct __sk_buff *packet) = (void *)BPF_FUNC_skb_vlan_pop;

// The push helper reads its protocol in network order; the instruction set has no htons() but this.
__attribute__((section("egress"), used)) int send_tagged(struct __sk_buff *packet)
{
	if (packet->vlan_present || packet->protocol == __builtin_bswap16(ETH_P_8021Q))
		return TC_ACT_OK;
	return vlan_push(packet, __builtin_bswap16(ETH_P_8021Q), VLAN) ? TC_ACT_SHOT : TC_ACT_OK;
}

__attribute__((section("ingress"), used)) int receive_untagged(struct __sk_buff *packet)
{
	if (!packet->vlan_present || (packet->vlan_tci & VLAN_ID_MASK) != VLAN)
		return TC_ACT_SHOT;
	return vlan_pop(packet) ? TC_ACT_SHOT : TC_ACT_OK;
}

__attribute__((section("license"), used)) char program_license[] = "GPL";
