// VitePress wants a default export of this very file; what is in it is in ../config.ts.
export { config as default } from '../config.ts';
