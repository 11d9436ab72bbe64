// The guard: whatever passes a workload's link carries a mark, or is dropped.
//
// Our table of nf_tables sets the mark on all that passes such a link, before it decides. Where the
// mark is missing the table is missing, or empty. Runs behind the table at FORWARD and INPUT.
//
// This file may be used under the terms of MIT or GPL-2.0, too: the kernel lets only programs that
// say so read its own structs.

typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

enum { NF_DROP = 0, NF_ACCEPT = 1 };
enum { BPF_MAP_TYPE_ARRAY = 2 };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

// Of the kernel's structs what is read here. The loader puts in where this kernel has it.
struct net_device {
	char name[16];
} __attribute__((preserve_access_index));

struct nf_hook_state {
	struct net_device *in;
	struct net_device *out;
} __attribute__((preserve_access_index));

struct sk_buff {
	u32 mark;
} __attribute__((preserve_access_index));

// What the program is called with, the same on every kernel.
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

// What names of workloads' links may begin with, and which of the octets count.
struct prefix {
	u64 octets[2];
	u64 counts[2];
};

enum { PREFIXES = 8 };

// `Rule` in lib.rs.
struct rule {
	// Bits of which a packet must have one.
	u32 marks;
	// Of `prefixes`, the first so many.
	u32 used;
	struct prefix prefixes[PREFIXES];
};

struct {
	int (*type)[BPF_MAP_TYPE_ARRAY];
	u32 *key;
	struct rule *value;
	int (*max_entries)[1];
} rule SEC(".maps");

__attribute__((always_inline)) static inline int is_workload(const struct rule *rule, struct net_device *link)
{
	// A packet to the host itself leaves by no link; what is read of none is zeroes.
	const u64 *at = (const u64 *)__builtin_preserve_access_index(&link->name);
	const u64 name[2] = { at[0], at[1] };

	for (u32 i = 0; i < PREFIXES && i < rule->used; i++) {
		const struct prefix *one = &rule->prefixes[i];

		if ((name[0] & one->counts[0]) == one->octets[0] &&
		    (name[1] & one->counts[1]) == one->octets[1])
			return 1;
	}
	return 0;
}

// Loaded as a program of netfilter, a type for whose sections the loader has no name yet.
SEC("classifier")
int guard(struct bpf_nf_ctx *ctx)
{
	const u32 only = 0;
	const struct rule *told = bpf_map_lookup_elem(&rule, &only);

	if (!told || ctx->skb->mark & told->marks)
		return NF_ACCEPT;
	if (is_workload(told, ctx->state->in) || is_workload(told, ctx->state->out))
		return NF_DROP;
	return NF_ACCEPT;
}

char _license[] SEC("license") = "Dual MIT/GPL";
