/** Who is calling: for a shell that says whose it is, a tool that tries whether its token works. */
import { EVERY_ROLE, json, onlyQuery, type Route } from './route.ts';

export const selfRoutes = (): Route[] => [
  {
    method: 'GET',
    path: '/v1/self',
    operationId: 'get-self',
    about: "Whom the caller's token stands for; on the unix socket, an operator.",
    who: EVERY_ROLE,
    output: 'Token',
    handle: ({ caller, query }) => {
      onlyQuery(query, []);
      return json(caller.token);
    },
  },
];
