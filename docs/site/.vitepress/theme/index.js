// VitePress wants a default export of this very file: its own theme, with our colours.
import DefaultTheme from 'vitepress/theme';
import './style.css';

export default DefaultTheme;
