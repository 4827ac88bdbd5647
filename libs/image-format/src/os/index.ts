export { identifyOs } from './identify-os';
