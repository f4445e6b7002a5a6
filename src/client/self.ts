/** Who the API takes this client for. */
import type { Requests } from './request.ts';
import type { Token } from './types.ts';

export interface SelfClient {
  /** The holder of the token that the client sends; on the unix socket an operator. */
  self(): Promise<Token>;
}

export const selfClient = ({ get }: Requests): SelfClient => ({
  self: () => get('/v1/self'),
});
