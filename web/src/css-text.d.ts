/** The minified text of a style sheet that comes with a view (build/css-text.mjs). */
declare module "*.css?text" {
  const text: string;
  export default text;
}
