export { findBase } from './ancestors';
export { offerOf } from './offer';
export { createPeers, type Peer, type Peers, PeerUnreachableError } from './peer-client';
export { DEFAULT_AGENCIES, parseAgencies, parsePeers, type PeerAddress } from './peer-config';
export { type PeerAnswer, type PeerRequest, PeerServer, type PeerServerParts } from './peer-server';
export { signPeerRequest } from './peer-signature';
export { receiveJobId } from './receive-job-id';
export { type ReceiveParts, Receives } from './receives';
export { type ReplicationParts, Replications } from './replications';
