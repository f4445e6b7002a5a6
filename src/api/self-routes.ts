/** Who is calling: a shell says whose it is, and a tool knows whether its token still works. */
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
