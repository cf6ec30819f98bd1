/** Style sheets of a page: esbuild puts them beside its script. */
declare module "*.css";
