# Table 5, Linear: the mask decoder and no_mask_embed. No script for it is public: Adam, as for GPS.
_base_ = ['../_base_/table5.py', '../_base_/methods/linear.py']
