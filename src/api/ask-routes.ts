/** Where agents answer what they were asked, and the simplest thing that they are asked. */
import { AnswerBody } from '#client/asks.ts';
import type { Node } from './node.ts';
import { json, readBody, type Route } from './route.ts';
import { find } from './lists.ts';

export const askRoutes = (node: Node): Route[] => [
  {
    method: 'POST',
    path: '/v1/asks/:id',
    operationId: 'answer-ask',
    about:
      'What the calling host answers to what it was asked on its stream; 410 when that is over.',
    who: ['host'],
    input: 'Answer',
    handle: async ({ request, caller, params }) => {
      const { token } = caller;
      if (token.role !== 'host') throw new Error('the route is for hosts only');
      node.asks.answer(token.host, params['id'] ?? '', await readBody(request, AnswerBody));
      return new Response(null, { status: 204 });
    },
  },
  {
    method: 'GET',
    path: '/v1/hosts/:id/agent',
    operationId: 'get-agent',
    about: 'What the agent of a host says of itself, now.',
    who: ['operator'],
    output: 'AgentAbout',
    handle: async ({ request, caller, params }) => {
      const host = find(node.replica.topology, 'host', params['id'] ?? '', () => true);
      const options = { signal: request.signal, caller: caller.id };
      const [about] = await node.asks.one(host.id, { kind: 'about' }, options);
      return json({ host: host.id, ...about });
    },
  },
];
