/** The agent's limits, each with what happens when it is reached. */
import { UPCALL_BUDGET } from '#datapath/budget.ts';

export const LIMITS = {
  /** Checks of members at a time; further ones begin later. */
  healthChecksMax: 256,
  /** Members of one report; further ones are told of in the next. */
  healthReportsMax: 256,
  /** How often due checks are begun, and what they found is told. */
  healthTickMs: 200,
  /** So long the connections of a VIP at its limit are not counted again. */
  sessionsCountedMs: 500,
  /** Clients of VIPs that are remembered; see `vip-clients.ts` for who is forgotten first. */
  balancedClientsMax: 65_536,
  /**
   * What one port, and one host behind the tunnel, may have handed up; the kernel drops what is
   * more as `upcall-budget`. The numbers, and why, are with the datapath.
   */
  upcallBudget: UPCALL_BUDGET,
  /** Upcalls decided before their flows are installed: a storm must not delay installation. */
  upcallsPerBatchMax: 256,
  /**
   * When more wait than one batch takes, entries take turns: frames read from the datapath at once
   * for that, and the room for those whose turn has not come. Nobody has more than its part of it;
   * further frames are dropped as `upcall-share`.
   */
  turns: { readMax: 4_096, bytesMax: 4 * 1024 * 1024 },
  /** A flow that carried nothing for so long is removed; its next frame is decided anew. */
  flowIdleMs: 60_000,
  /**
   * Every flow is decided anew after so long: the bound for whatever invalidation could have
   * missed.
   */
  flowAgeMs: 3_600_000,
  /** Slots looked at for expiry in one tick; a full turn over 256 k slots takes 32 ticks. */
  expirySlotsPerTick: 8_192,
  /** Slots looked at for bytes of balanced flows in one tick: 256 k slots take 32 s. */
  balanceSlotsPerTick: 4_096,
  /** Records of connections looked at for expiry in one tick. */
  connectionsPerTick: 16_384,
  /** Of these, how many end at most: first packets wait meanwhile, and the flows of each go too. */
  connectionsEndedPerTick: 4_096,
  /**
   * What part of all flows one port, or one host behind the tunnel, may have. At its quota the
   * oldest idle ones of its own go for the new one; so they do at its equal share of a full table.
   */
  flowQuota: 1 / 2,
  /** Flows of one entry made stale at once to make room, for others or for its own. */
  evictedAtOnceMax: 256,
  /** A flow used so recently is passed over, while its entry has others. */
  evictIdleMs: 2_000,
  /** Stale flows deleted in one turn; the others follow, a turn of first packets between them. */
  removedAtOnceMax: 4_096,
  /** Questions to other hosts about connections that are open at a time; more are not asked. */
  questionsMax: 1_024,
  /** So long a packet waits for the answer at most; then it is dropped. */
  questionMs: 250,
  /** What one port, or one host behind the tunnel, may ask: questions at once, and a second. */
  questionBudget: { burst: 64, perSecond: 64 },
  /** The same of a port behind which members of pools are, about what these answer. */
  answerBudget: { burst: 1_024, perSecond: 256 },
  /**
   * Public ports: how many a host asks for first; at once, at most; so long a packet waits for
   * them; so long nothing is asked again of an address that has none left, or of which nobody
   * answers; from what part in use on more are asked for; so long a block is idle before it is
   * given back; how often that is looked at.
   */
  publicPortsFirst: 256,
  publicPortsAskMax: 8_192,
  publicPortsWaitMs: 2_000,
  publicPortsSpentMs: 5_000,
  publicPortsBusy: 1 / 2,
  publicPortsIdleMs: 300_000,
  publicPortsLookMs: 500,
  /** Addresses without ports that are told of; of more, those that refused a connection last. */
  publicPortsRefusedMax: 1_024,
  /** Times that one packet's ends are chosen anew because a connection has them. */
  endsChosenMax: 8,
  /** Flows of one tick that drop what is sent to public ends nobody knows; more are not made. */
  inVainMax: 4_096,
  /** How often the keys for records are asked for anew; and after another host came or went. */
  recordKeysMs: 3_600_000,
  /** How often the worker ticks: expiry, renewal, retries. */
  tickMs: 500,
  /** MACs one port may teach; further ones are flooded to, not learned. */
  learnedPerPortMax: 1_024,
  /** A MAC that sent nothing for so long is forgotten (IEEE 802.1Q §8.8.3: 300 s). */
  learnedAgeMs: 300_000,
  /** Own learned MACs are renewed at the API this often: well within their lease. */
  learnedRenewMs: 100_000,
  /** Neighbours one router port may have; of further ones nothing is remembered. */
  neighboursPerPortMax: 16_384,
  /** Of these, how many one port of a bridge may bring. */
  neighboursPerPlaceMax: 4_096,
  /**
   * A neighbour that this host heard is asked again, alone, when it was not heard for so long;
   * times
   * 0.75 to 1.25, so that they are not all asked at once (RFC 4861 §6.3.2 does alike).
   */
  neighbourStaleMs: 60_000,
  /** What another host passed on is believed for so long without the store's word. */
  neighbourPassedMs: 60_000,
  /** Questions before a neighbour counts as unreachable, and the pause between (RFC 4861 §10). */
  neighbourAsksMax: 3,
  neighbourAskMs: 1_000,
  /** An unreachable neighbour is not asked for again for so long; its packets are refused. */
  neighbourUnreachableMs: 3_000,
  /**
   * Neighbours asked for at a time: because of frames of one interface, of one router port, and of
   * all; others are not found.
   */
  asksPerSourceMax: 256,
  asksPerPortMax: 1_024,
  asksMax: 4_096,
  /**
   * Frames that wait for one neighbour, that came by one interface, and all of them, with the bytes
   * of the latter two; further ones are dropped.
   */
  parkedPerNeighbourMax: 128,
  parkedPerSourceMax: 256,
  parkedBytesPerSourceMax: 1024 * 1024,
  parkedMax: 2_048,
  parkedBytesMax: 8 * 1024 * 1024,
  /**
   * Frames of the network itself that one first packet may bring about, answers to them included;
   * an answer in fragments counts once.
   */
  sendsPerUpcallMax: 64,
  /**
   * Datagrams for routers of which not all fragments have come, of one port and of all: the oldest
   * of the port, or of the port that has the most, makes room. So it is with the bytes of them all.
   */
  datagramsPerPortMax: 16,
  datagramsMax: 512,
  datagramBytesMax: 4 * 1024 * 1024,
  /** A datagram in more fragments is given up: the longest at an MTU of 576 (RFC 1122 §3.3.2). */
  fragmentsPerDatagramMax: 128,
  /** A datagram that is not whole after so long is given up (RFC 791 §3.2). */
  datagramAgeMs: 15_000,
  /** Learned MACs waiting to be published; further ones wait in the table for the next renewal. */
  learnedQueueMax: 16_384,
  /** Ports told to the API with one report; the others follow with the next. */
  locateTogetherMax: 64,
  /**
   * Ways to other hosts whose MTU is asked for in one tick: a millisecond, in which no packet is
   * decided. All of them take 2 s where there are 64, and 128 s where there are 4,096.
   */
  pathsPerTickMax: 16,
  /** Packets cut to pieces that fit in one tick, by this agent; others are dropped as `too-big`. */
  cutPerTickMax: 4_096,
  /** How often the host's links are listed even when no event told of a change. */
  linksResyncMs: 5_000,
  /** How often the guard looks for interfaces without programs even when no event told of one. */
  guardLookMs: 1_000,
  /** How often what the datapath refused (an interface, a key, a sender) is tried again. */
  bindRetryMs: 5_000,
  /** Requests of the API answered at a time; more are refused. */
  requestsMax: 32,
  /** Bytes, as JSON, of one answer that wait to be sent; beyond, the answer ends with an error. */
  answerBytesWaitingMax: 16 * 1024 * 1024,
  /** How long the kernel goes on showing frames when nobody renews that: this process has ended. */
  lookLeaseMs: 3_000,
  /** Frames that one capture may be shown in a second, and at once; further ones are counted. */
  lookFramesPerSecond: 2_000,
  lookFramesBurst: 500,
  /** Frames that were shown and wait to be told; further ones are counted. */
  looksWaitingMax: 2_048,
  /** How often whoever looks is told how many frames were not shown. */
  lookCountMs: 1_000,
  /** First and longest pause before a failed request to the API is tried again. */
  retryFirstMs: 100,
  retryLongestMs: 5_000,
} as const;
